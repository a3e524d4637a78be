"""The lightest HTTP/1.1 client that holds the contract: a thousand of them leave the server its core."""

import asyncio
import json
from types import TracebackType
from typing import Any, Self


class MinimalHttp:
    """One keep-alive connection to the server; one request at a time, each bounded in time.

    Raises OSError or EOFError for a connection that broke, TimeoutError for an answer that is late.
    """

    def __init__(self, host: str, port: int) -> None:
        self._address = host, port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    async def call(
        self, method: str, path: str, secret: str = "", body: Any = None, limit_s: float = 30.0
    ) -> tuple[int, bytes]:
        """Status and body of an answer; after an error the next call reconnects."""
        try:
            async with asyncio.timeout(limit_s):
                return await self._call(method, path, secret, body)
        except BaseException:
            self._close()
            raise

    async def _call(self, method: str, path: str, secret: str, body: Any) -> tuple[int, bytes]:
        if self._streams is None or self._streams[0].at_eof():  # a server closes what was idle for long
            self._close()
            self._streams = await asyncio.open_connection(*self._address)
        reader, writer = self._streams
        content = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: mnet\r\nAuthorization: Bearer {secret}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        writer.write(head.encode() + content)
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        answer = await reader.readexactly(int(headers.get("content-length", 0)))
        return int(lines[0].split()[1]), answer

    def _close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None
