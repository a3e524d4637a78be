"""The phone's calls against a server that cuts downloads short, lies about sizes, or is not there."""

import json
import re
import socket
import threading
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from joserfc.jwk import ECKey

from mnet.export.format.errors import Reason, Refused
from mnet.toolchain.contract.keys import load_public_keys, public_keys, read_statement, signer
from mnet.toolchain.contract.release import verify_release
from mnet.toolchain.errors import UserError
from mnet.toolchain.phone.backoff import Backoff
from mnet.toolchain.phone.client import CloudClient, Denied, Identity, Offline

PHONE = Identity("phone", "bundle", "phone.secret", {"keys": []})
KEYS = public_keys(ECKey.generate_key("P-256"))
PACK = bytes(range(256)) * 40

Answer = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def serving(answer: Answer) -> Iterator[CloudClient]:
    """A client of a server on loopback that answers every call by `answer`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            answer(self)

        def log_message(self, *_args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        with CloudClient(f"http://127.0.0.1:{server.server_port}") as client:
            yield client
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(("said", "told"), [("7", 7), ("-1", 0), ("9" * 400, 0), ("x", 0), (None, 0)])
def test_a_phone_is_told_that_nothing_came_of_its_context(said: str | None, told: int) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(204)
        if said is not None:
            handler.send_header("Mnet-Not-Made", said)
        handler.end_headers()

    with serving(answer) as client:
        assert client.newest_release(PHONE, 0, 0).not_made == told


def send(handler: BaseHTTPRequestHandler, status: int, body: bytes, announced: int | None = None) -> None:
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(body) if announced is None else announced))
    handler.end_headers()
    handler.wfile.write(body)
    handler.close_connection = True


def test_a_cut_download_goes_on_where_it_broke() -> None:
    starts: list[int] = []

    def cut_after_3000(handler: BaseHTTPRequestHandler) -> None:
        wanted = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", "bytes=0-"))
        assert wanted is not None
        start = int(wanted[1])
        starts.append(start)
        send(handler, 206 if start else 200, PACK[start : start + 3000], announced=len(PACK) - start)

    with serving(cut_after_3000) as client:
        assert client.fetch_pack(PHONE, "0" * 64, len(PACK)) == PACK
    assert starts == [0, 3000, 6000, 9000]


def test_a_server_without_ranges_starts_the_pack_again() -> None:
    calls: list[str | None] = []

    def whole_the_second_time(handler: BaseHTTPRequestHandler) -> None:
        calls.append(handler.headers.get("Range"))
        send(handler, 200, PACK if len(calls) > 1 else PACK[:100], announced=len(PACK))

    with serving(whole_the_second_time) as client:
        assert client.fetch_pack(PHONE, "0" * 64, len(PACK)) == PACK
    assert calls == [None, "bytes=100-"]


def test_a_download_that_brings_nothing_is_offline() -> None:
    with (
        serving(lambda handler: send(handler, 200, b"", announced=len(PACK))) as client,
        pytest.raises(Offline),
    ):
        client.fetch_pack(PHONE, "0" * 64, len(PACK))


@pytest.mark.parametrize("body", [PACK + b"x", PACK[:-1]])
def test_a_pack_of_another_size_is_refused(body: bytes) -> None:
    with (
        serving(lambda handler: send(handler, 200, body)) as client,
        pytest.raises(Refused) as refusal,
    ):
        client.fetch_pack(PHONE, "0" * 64, len(PACK))
    assert refusal.value.reason is Reason.WRONG_SIZE


def test_a_server_in_trouble_is_offline_and_a_refusal_is_denied() -> None:
    with serving(lambda handler: send(handler, 503, b"")) as client, pytest.raises(Offline, match="503"):
        client.newest_release(PHONE, 0, 0)
    with (
        serving(lambda handler: send(handler, 403, b'{"detail": "not yours"}')) as client,
        pytest.raises(Denied, match="not yours"),
    ):
        client.newest_release(PHONE, 0, 0)


@pytest.mark.parametrize(
    "body",
    [
        b"<html>Welcome to our Wi-Fi</html>",
        b"[]",
        b'{"other": 1}',
        b"null",
        b" " * 5_000_000,
        b"[" * 200_000,
    ],
    ids=["html", "list", "other", "null", "long", "deep"],
)
def test_something_else_that_answers_is_offline(body: bytes) -> None:
    with serving(lambda handler: send(handler, 200, body)) as client, pytest.raises(Offline):
        client.newest_release(PHONE, 0, 0)


def test_no_server_is_offline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with CloudClient(f"http://127.0.0.1:{port}") as client, pytest.raises(Offline):
        client.newest_release(PHONE, 0, 0)


@pytest.mark.parametrize("server", ["127.0.0.1:8765", "nowhere", "ftp://127.0.0.1", "http://", "http://a:b"])
def test_what_is_no_url_is_the_users_mistake(server: str) -> None:
    with pytest.raises(UserError, match="is not"):
        CloudClient(server)


def test_backoff_grows_to_its_cap_and_starts_over() -> None:
    backoff = Backoff(first_s=1.0, cap_s=8.0)
    for expected in (1.0, 2.0, 4.0, 8.0, 8.0):
        assert expected / 2 <= backoff.next() <= expected
    backoff.reset()
    assert backoff.next() <= 1.0


def test_a_server_that_knows_no_ranges_and_always_cuts_is_offline() -> None:
    calls: list[int] = []

    def cut(handler: BaseHTTPRequestHandler) -> None:
        calls.append(1)
        send(handler, 200, PACK[: 4000 + len(calls) % 2], announced=len(PACK))

    with serving(cut) as client, pytest.raises(Offline):
        client.fetch_pack(PHONE, "0" * 64, len(PACK))
    assert len(calls) < 5


def test_a_body_that_cannot_be_unpacked_is_offline() -> None:
    def bad_gzip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Encoding", "gzip")
        handler.send_header("Content-Length", "5")
        handler.end_headers()
        handler.wfile.write(b"hello")

    with serving(bad_gzip) as client, pytest.raises(Offline, match="compressed"):
        client.newest_release(PHONE, 0, 0)


def test_a_captive_portal_is_offline() -> None:
    with serving(lambda handler: send(handler, 302, b"")) as client, pytest.raises(Offline, match="302"):
        client.newest_release(PHONE, 0, 0)


def test_a_release_nested_without_end_is_no_more_than_refused() -> None:
    header = urlsafe_b64encode(b'{"kid":' + b"[" * 200_000).rstrip(b"=").decode()
    assert signer(f"{header}.e30.AA") is None
    keys = public_keys(ECKey.generate_key("P-256"))
    with pytest.raises(ValueError, match="no statement"):
        read_statement(f"{header}.e30.AA", keys, 0)
    with pytest.raises(Refused) as refusal:
        verify_release(
            f"{header}.e30.AA", load_public_keys(keys), device="a", bundle="b", newer_than=0, now=0
        )
    assert refusal.value.reason is Reason.BAD_SIGNATURE


ENROLMENT = {"device": "0123", "token": "0123.secret", "keys": KEYS, "number": 0}


@pytest.mark.parametrize(
    "change",
    [
        b'"token": "t\xc3\xb6ken"',
        b'"token": "a\\nb"',
        b'"token": ""',
        b'"device": "01\\n23"',
        b'"device": "../0123"',
        b'"device": 7',
        b'"number": 1e999',
        b'"number": "1"',
        b'"keys": {"keys": []}',
        b'"keys": 1',
    ],
)
def test_an_enrolment_that_would_end_the_phone_is_offline(change: bytes) -> None:
    name = change.partition(b":")[0]
    fields = [json.dumps({key: value})[1:-1].encode() for key, value in ENROLMENT.items()]
    body = b"{" + b",".join(change if field.startswith(name) else field for field in fields) + b"}"

    def answer(handler: BaseHTTPRequestHandler) -> None:
        send(handler, 201, body)

    with serving(answer) as client, pytest.raises(Offline, match="not that of an mnet server"):
        client.enrol("key", "bundle")


@pytest.mark.parametrize("version", ["1e999", "-1", "0", "true", '"1"', str(2**31), "1.0"])
def test_a_version_that_is_none_is_offline(version: str) -> None:
    body = f'{{"version": {version}}}'.encode()
    with serving(lambda handler: send(handler, 202, body)) as client, pytest.raises(Offline):
        client.upload(PHONE, [1])
