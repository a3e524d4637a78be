"""A deadline for a whole HTTP exchange: httpx bounds each read, and a byte every few seconds passes that for hours."""

import time
from collections.abc import Iterable
from typing import Any

import httpcore

# What a server takes in is written in pieces, so that a slow reader meets the deadline too.
_PIECE_BYTES = 64 * 1024


class Deadline:
    """When the current exchange must be over, by time.monotonic."""

    def __init__(self) -> None:
        self._end = float("inf")

    def start(self, within_s: float) -> None:
        """From now on there are this many seconds."""
        self._end = time.monotonic() + within_s

    def left(self, timeout: float | None) -> float:
        """How long the next step may take, in seconds; raises httpcore.ReadTimeout when the time is over."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("the deadline of the whole exchange has passed")
        return left if timeout is None else min(left, timeout)


class DeadlineBackend(httpcore.SyncBackend):
    """Connections of which every step keeps to one deadline."""

    def __init__(self, deadline: Deadline) -> None:
        super().__init__()
        self._deadline = deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect; the steps of the connection are bounded as the connecting is."""
        left = self._deadline.left(timeout)
        return _Stream(super().connect_tcp(host, port, left, local_address, socket_options), self._deadline)


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._deadline.left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), _PIECE_BYTES):
            self._stream.write(buffer[start : start + _PIECE_BYTES], self._deadline.left(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = self._deadline.left(timeout)
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, left), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
