"""A relay on loopback between phones and their server that fails as networks do."""

import random
import socket
import socketserver
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Literal, Self

Trouble = Literal["none", "down", "cut", "corrupt", "slow"]

CUT_AFTER = 4096  # bytes of an answer with a pack
HEAD = 1024  # more than the head of such an answer has
SLOW_BYTES, SLOW_S = 256, 0.005


class BadNetwork(socketserver.ThreadingTCPServer):
    """Relays connections to a port on loopback; what is wrong with it is `trouble`, which may change at any time.

    down: connections are closed. cut: an answer with a pack ends after 4 KiB. corrupt: a byte of a pack is another.
    slow: 256 bytes at a time, in both directions, 50 KB/s at best.
    """

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 1024  # a whole fleet comes back at once

    def __init__(self, port: int, seed: int) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.port = port
        self.trouble: Trouble = "none"
        self.draw = random.Random(seed)  # noqa: S311 (no secret)
        self._thread = threading.Thread(target=self.serve_forever, name="bad network", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """What phones take for the server's URL."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A connection that broke is what this is for."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()

    def __enter__(self) -> Self:
        return self


class _Connection(socketserver.BaseRequestHandler):
    server: BadNetwork

    def handle(self) -> None:
        """Relay both ways until either side has had enough."""
        self._with_pack, self._answered = False, 0
        if self.server.trouble == "down":
            return
        with socket.create_connection(("127.0.0.1", self.server.port)) as upstream:
            back = threading.Thread(target=self._relay_answers, args=(upstream,), daemon=True)
            back.start()
            try:
                while data := self.request.recv(65536):
                    self._with_pack, self._answered = b"GET /v1/packs/" in data, 0
                    if self.server.trouble == "down":
                        break
                    self._send(upstream, data)
            finally:
                _close(upstream)
                back.join()

    def _relay_answers(self, upstream: socket.socket) -> None:
        with suppress(OSError):  # one side is gone: the other one's connection is closed next
            while data := upstream.recv(65536):
                if self.server.trouble == "down" or not self._send(self.request, self._spoilt(data)):
                    break
        _close(self.request)

    def _spoilt(self, data: bytes) -> bytes:
        before, self._answered = self._answered, self._answered + len(data)
        if not self._with_pack:
            return data
        if self.server.trouble == "cut":
            return data[: max(0, CUT_AFTER - before)]
        if self.server.trouble == "corrupt" and self._answered > HEAD:
            changed = bytearray(data)
            changed[self.server.draw.randrange(max(0, HEAD - before), len(data))] ^= 0xFF
            return bytes(changed)
        return data

    def _send(self, to: socket.socket, data: bytes) -> bool:
        """Whether all went out and more may follow."""
        if self.server.trouble == "slow":
            for start in range(0, len(data), SLOW_BYTES):
                to.sendall(data[start : start + SLOW_BYTES])
                time.sleep(SLOW_S)
        else:
            to.sendall(data)
        return not (self.server.trouble == "cut" and self._with_pack and self._answered >= CUT_AFTER)


def _close(connection: socket.socket) -> None:
    with suppress(OSError):  # it is closed already
        connection.shutdown(socket.SHUT_RDWR)
