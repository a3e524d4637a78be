"""A server that answers slowly, in pieces or compressed: one deadline for each whole exchange."""

import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler

import pytest

from mnet.toolchain.phone.client import CloudClient, Offline
from tests.phone.test_client import PACK, PHONE, send, serving


@contextmanager
def raw_server(answer: Callable[[socket.socket], None]) -> Iterator[CloudClient]:
    """A client of a server that reads a request and answers by `answer`, in bytes."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                connection.recv(65536)
                answer(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    with CloudClient(f"http://127.0.0.1:{server.getsockname()[1]}") as client:
        yield client
    server.shutdown(socket.SHUT_RDWR)
    server.close()


def trickle(head: bytes, piece: bytes) -> Callable[[socket.socket], None]:
    """An answer that has no end: `piece` again and again, well within the time-out of one read."""

    def answer(connection: socket.socket) -> None:
        connection.sendall(head)
        while True:
            connection.sendall(piece)
            time.sleep(0.02)

    return answer


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        trickle(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        trickle(b"HTTP/1.1 200 OK\r\n", b"X-More: y\r\n"),
        trickle(OK, b" "),
    ],
    ids=["endless 100 Continue", "a header at a time", "a byte at a time"],
)
def test_a_slow_answer_ends_at_the_deadline_of_the_whole(
    answer: Callable[[socket.socket], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mnet.toolchain.phone.client._PACK_S", 0.5)
    monkeypatch.setattr("mnet.toolchain.phone.client._LEAST_BYTES_A_S", 10**9)
    with raw_server(answer) as client:
        start = time.monotonic()
        with pytest.raises(Offline):
            client.fetch_pack(PHONE, "0" * 64, len(PACK))
        assert time.monotonic() - start < 3.0


def test_a_download_is_resumed_a_few_times_and_after_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mnet.toolchain.phone.backoff.Backoff.next", lambda self: 0.001)
    calls: list[int] = []

    def a_byte_a_connection(handler: BaseHTTPRequestHandler) -> None:
        start = int(handler.headers.get("Range", "bytes=0-")[6:-1])
        calls.append(start)
        send(handler, 206 if start else 200, PACK[start : start + 1], announced=len(PACK) - start)

    with serving(a_byte_a_connection) as client, pytest.raises(Offline):
        client.fetch_pack(PHONE, "0" * 64, len(PACK))
    assert calls == list(range(9))


def test_compressed_answers_are_not_unpacked() -> None:
    bomb = gzip.compress(gzip.compress(bytes(50_000_000)))
    asked: list[str | None] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        asked.append(handler.headers.get("Accept-Encoding"))
        handler.send_response(200)
        handler.send_header("Content-Encoding", "gzip, gzip")
        handler.send_header("Content-Length", str(len(bomb)))
        handler.end_headers()
        handler.wfile.write(bomb)

    with serving(answer) as client, pytest.raises(Offline, match="compressed"):
        client.newest_release(PHONE, 0, 0)
    assert asked == ["identity"]
