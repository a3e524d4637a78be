"""A server that does to its phones whatever a seeded draw says, until it is asked to be honest.

As a program it prints `{"url": …}` and serves until its input ends: `python -m tests.vectors.hostile_server SEED`. GET
/honest makes it honest: it then gives the newest version to whoever asks. GET /probe/V gives the probe under version V,
GET /roots the root keys that a phone may come with: it enrols with the key `rooted`, and hears lies about keys too.
"""

import gzip
import json
import random
import re
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import torch
from joserfc.jwk import ECKey

from mnet.export.format.bundle import Bundle
from mnet.export.format.packs import MAX_VERSION, pack_digest, write_pack
from mnet.toolchain.cloud.signing_keys import Keyring, Stated
from mnet.toolchain.contract.freshness import HEADER, nothing_newer
from mnet.toolchain.contract.keys import Roots, public_keys
from mnet.toolchain.contract.release import Release, sign_release
from tests.export.ranker import PackFactory, Ranker, random_weights
from tests.vectors.vector import DEVICE

EXPORTED = Path(__file__).parent / "exported" / "ranker"
VERSIONS = 12
ROOTED = "rooted"
_NONSENSE = (
    b"",
    b"null",
    b"[]",
    b"<html>Welcome</html>",
    b'{"release": 1e999}',
    b'{"release": {}}',
    b'{"version": 1e999}',
    b"[" * 200_000,
    b'{"release": "\xff\xfe"}',
    b'{"detail": ' + b"9" * 5000 + b"}",
    b'{"statements": [1, null, "", {}]}',
    gzip.compress(bytes(1_000_000)),
)

# What is no enrolment, whatever else is in it.
_ENROLMENTS: tuple[dict[str, Any], ...] = (
    {"token": "a\nb"},
    {"token": "é"},
    {"token": None},
    {"device": "../x"},
    {"device": 7},
    {"number": -1},
    {"number": "1"},
    {"number": 10**400},
    {"epoch": MAX_VERSION + 1},
    {"keys": 7},
    {"keys": {"keys": []}},
    {"keys": {"keys": [{"kty": "EC", "crv": "P-256", "kid": "a", "x": "", "y": ""}]}},
    {"roots": {"keys": {"keys": []}, "threshold": 1}},
    {"roots": []},
)


def _about_keys(server: "HostileServer") -> tuple[dict[str, Any], ...]:
    """What only root keys can put right: a phone without such believes it, for it is the first thing that it hears."""
    theirs = public_keys(server.other)
    return (
        {"keys": theirs},
        {"keys": theirs, "roots": asdict(server.roots)},
        {"keys": theirs, "roots": {"keys": theirs, "threshold": 1}},
        {"number": MAX_VERSION, "epoch": MAX_VERSION},
    )


class HostileServer(ThreadingHTTPServer):
    """What it knows, and the draw that decides what it makes of it."""

    daemon_threads = True

    def __init__(self, seed: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.honest = False
        self.draw = random.Random(seed)
        self.lock = threading.Lock()
        torch.manual_seed(0)
        model = Ranker(items=50, width=4).eval()
        self.bundle = Bundle.load(EXPORTED)
        factory = PackFactory(self.bundle, model)
        weights = {version: random_weights(self.bundle, version) for version in range(1, VERSIONS + 1)}
        self.probes = {version: factory.probe(each) for version, each in weights.items()}
        self.packs = {version: factory.pack(each, version) for version, each in weights.items()}
        self.garbled = {
            version: write_pack(
                weights[version],
                bundle_id=self.bundle.id,
                version=version,
                generator="g",
                probe=self.probes[1 + version % VERSIONS],
            )
            for version in weights
        }
        # Weights of somebody else, of which only the signature is wrong.
        self.forged = {
            version: factory.pack(random_weights(self.bundle, 1000 + version), version) for version in weights
        }
        made = (self.packs, self.garbled, self.forged)
        self.known = {pack_digest(pack): pack for packs in made for pack in packs.values()}
        self.key, self.other, root = (ECKey.generate_key("P-256", {"kid": kid}) for kid in "abr")
        self.roots = Roots(public_keys(root), 1)
        stated = Stated(0, 0, self.roots).next(public_keys(self.key), [root], int(time.time()))
        self.keyring = Keyring(self.key, (), stated)

    def handle_error(self, request: object, client_address: object) -> None:
        """A phone that hung up is what this is for."""

    def release(self, version: int, pack: bytes, **changed: Any) -> str:
        """A signed release, with claims changed."""
        now = int(time.time())
        claims = {
            "device": DEVICE,
            "bundle": self.bundle.id,
            "version": version,
            "sha256": pack_digest(pack),
            "size": len(pack),
            "issued_at": now,
            "expires_at": now + 3600,
        }
        by = changed.pop("by", self.key)
        return sign_release(by, Release(**{**claims, **changed}))


class _Handler(BaseHTTPRequestHandler):
    server: HostileServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._handle()

    def do_PUT(self) -> None:
        self.do_POST()

    def log_message(self, *_arguments: object) -> None:
        pass

    def _handle(self) -> None:
        server, path = self.server, self.path.partition("?")[0]
        self.close_connection = True
        if path == "/honest":
            server.honest = True
            self._send(200, b"{}")
            return
        if path == "/roots":
            self._send(200, json.dumps(asdict(server.roots)).encode())
            return
        if found := re.fullmatch(r"/probe/(\d+)", path):
            self._send(200, json.dumps(server.probes[int(found[1])]).encode())
            return
        with server.lock:
            draw = random.Random(server.draw.random())
        if server.honest or draw.random() < 0.35:
            self._good(path, draw)
            return
        draw.choice((self._status, self._nonsense, self._lie, self._lie, self._mutate, self._break))(
            path, draw
        )

    def _good(self, path: str, draw: random.Random) -> None:
        self._send(*self._answer(path, VERSIONS if self.server.honest else draw.randint(1, VERSIONS)))

    def _answer(self, path: str, version: int, **changed: Any) -> tuple[int, bytes, dict[str, str]]:
        server = self.server
        if path.endswith("/devices"):
            content = {"device": DEVICE, "token": "t" * 20, "keys": public_keys(server.key), "number": 0}
            return 201, json.dumps(content | changed).encode(), {}
        if path.endswith("/release"):
            after = int(re.search(r"after=(\d+)", self.path)[1])  # type: ignore[index]
            if server.honest and after >= VERSIONS:
                statement = nothing_newer(server.key, DEVICE, server.bundle.id, after, int(time.time()))
                return 204, b"", {HEADER: statement}
            release = server.release(version, server.packs[version], **changed)
            return 200, json.dumps({"release": release}).encode(), {}
        if path.endswith("/keys"):
            statements = server.keyring.statements(int(time.time()))
            return 200, json.dumps({"statements": statements}).encode(), {}
        if path.endswith("/context"):
            return 202, json.dumps({"version": version}).encode(), {}
        if "/packs/" in path and (pack := server.known.get(path.rpartition("/")[2])):
            return 200, pack, {}
        return (404, b'{"detail": "nothing there"}', {}) if "/packs/" in path else (204, b"", {})

    def _status(self, path: str, draw: random.Random) -> None:
        self._send(draw.choice((201, 204, 206, 301, 304, 400, 401, 404, 416, 422, 429, 500, 503)), b"{}")

    def _nonsense(self, path: str, draw: random.Random) -> None:
        headers = draw.choice(({}, {"Content-Encoding": "gzip"}, {HEADER: "a.b.c"}, {"Retry-After": "0"}))
        self._send(200, draw.choice(_NONSENSE), headers)

    def _lie(self, path: str, draw: random.Random) -> None:
        """Well-formed, and wrong: about versions, times, devices, sizes, or signed by somebody else."""
        server, version = self.server, draw.randint(1, VERSIONS)
        if path.endswith("/devices"):
            rooted = self.headers.get("Authorization") == f"Bearer {ROOTED}"
            lies = _about_keys(server) if rooted and draw.random() < 0.7 else _ENROLMENTS
            self._send(*self._answer(path, 1, **draw.choice(lies)))
            return
        if not path.endswith("/release"):
            self._mutate(path, draw)
            return
        garbled, forged = server.garbled[version], server.forged[version]
        claims: tuple[dict[str, Any], ...] = (
            {"version": draw.choice((MAX_VERSION + 1, 10**400, -1))},
            {"device": "another"},
            {"bundle": "c" * 64},
            {"expires_at": 1},
            {"size": 10**12},
            {"by": server.other, "sha256": pack_digest(forged), "size": len(forged)},
            {"sha256": pack_digest(garbled), "size": len(garbled)},
        )
        self._send(*self._answer(path, version, **draw.choice(claims)))

    def _mutate(self, path: str, draw: random.Random) -> None:
        status, body, headers = self._answer(path, draw.randint(1, VERSIONS))
        if path.endswith("/devices"):
            # Enrolment is trust at first use: a bit of an id that changes there is what TLS is for.
            self._send(status, body[: draw.randrange(len(body))], headers)
            return
        changed = bytearray(body or b"x")
        for _ in range(draw.choice((1, 1, 3, 20))):
            changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
        self._send(status, bytes(changed[: draw.choice((len(changed), len(changed) // 2))]), headers)

    def _break(self, path: str, draw: random.Random) -> None:
        """Break the protocol itself: cut, lie about lengths, say nothing, or never come to an end."""
        _, body, _ = self._answer(path, draw.randint(1, VERSIONS))
        connection: socket.socket = self.connection
        breaks: tuple[Callable[[], None], ...] = (
            lambda: None,
            lambda: connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n" + body[:50]),
            lambda: connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + body * 3),
            lambda: connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
            lambda: connection.sendall(b"\x00" * 300 + b"\r\n\r\n"),
            lambda: connection.sendall(b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 200_000 + b"\r\n\r\n"),
            lambda: connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 2000),
        )
        with suppress(OSError):
            draw.choice(breaks)()

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        with suppress(OSError):
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            if status not in (204, 304):
                self.send_header("Content-Length", str(len(body)))
            self.send_header("Connection", "close")
            self.end_headers()
            if status not in (204, 304):
                self.wfile.write(body)


if __name__ == "__main__":
    server = HostileServer(int(sys.argv[1]))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(json.dumps({"url": server.url}), flush=True)
    sys.stdin.read()
