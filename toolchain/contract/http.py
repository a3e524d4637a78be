"""HTTP to one mnet server, and the two ways in which a call can fail."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import httpx

from mnet.toolchain.contract.deadline import Deadline, DeadlineBackend
from mnet.toolchain.errors import UserError

_TIMEOUT = httpx.Timeout(10.0, connect=5.0)
# For a whole exchange, however it is spread over reads.
_WITHIN_S = 30.0
_MAX_ANSWER_BYTES = 4 * 1024 * 1024


class Offline(Exception):
    """The server cannot be reached, is in trouble, or something else answers for it; try again later."""


class Denied(Exception):
    """The server answered that it will not do this; `status` is HTTP's."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"{detail} (HTTP {status})")
        self.status = status
        self.detail = detail


class HttpClient:
    """A connection to one server; not to be shared between threads."""

    def __init__(self, server: str) -> None:
        """A client of the server at this URL; UserError where it is none."""
        self._deadline = Deadline()
        # Not compressed: of gzip, 2 KB can be 2 GB.
        plain = {"Accept-Encoding": "identity"}
        try:
            self._http = httpx.Client(base_url=f"{server.rstrip('/')}/v1", timeout=_TIMEOUT, headers=plain)
        except httpx.InvalidURL as error:
            raise UserError(f"{server} is not a URL: {error}") from error
        if self._http.base_url.scheme not in ("http", "https") or not self._http.base_url.host:
            raise UserError(f"{server} is not the URL of a server, such as http://127.0.0.1:8765")
        # httpx passes no backend on to its pools of connections, which take one.
        for transport in (self._http._transport, *self._http._mounts.values()):
            if isinstance(transport, httpx.HTTPTransport):
                transport._pool._network_backend = DeadlineBackend(self._deadline)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def call(self, method: str, path: str, secret: str, **options: Any) -> Any:
        """The JSON that the server answers, None for an answer without content; raises Offline or Denied."""
        with self.answered(method, path, secret, **options) as answer:
            return None if answer.status_code == 204 else self.content(answer)

    def content(self, answer: httpx.Response) -> Any:
        """The JSON of an answer that has some; raises Offline."""
        body = _read(answer)
        with contract():
            if (content := json.loads(body)) is None:
                raise ValueError("no content where there should be some")
            return content

    @contextmanager
    def answered(
        self,
        method: str,
        path: str,
        secret: str,
        headers: Mapping[str, str] | None = None,
        within_s: float = _WITHIN_S,
        **options: Any,
    ) -> Iterator[httpx.Response]:
        """An answer of success, its body still to be read, all within `within_s` seconds; else Offline or Denied."""
        authorised = {"Authorization": f"Bearer {secret}", **(headers or {})}
        self._deadline.start(within_s)
        try:
            with self._http.stream(method, path, headers=authorised, **options) as answer:
                if answer.headers.get("Content-Encoding", "identity") != "identity":
                    raise Offline("the answer is compressed, which was not asked for")
                _check(answer)
                yield answer
        except (httpx.RequestError, httpx.InvalidURL, UnicodeError) as error:
            raise Offline(f"{type(error).__name__}: {error}") from error


def _read(answer: httpx.Response) -> bytes:
    body = bytearray()
    for chunk in answer.iter_raw():
        body += chunk
        if len(body) > _MAX_ANSWER_BYTES:
            raise Offline("the answer is too long to be that of an mnet server")
    return bytes(body)


def _check(answer: httpx.Response) -> None:
    if answer.is_success:
        return
    # No mnet server sends a phone elsewhere: a captive portal does.
    if answer.status_code >= 500 or answer.status_code == 429 or 300 <= answer.status_code < 400:
        raise Offline(f"the server answered HTTP {answer.status_code}")
    try:
        detail = str(json.loads(_read(answer))["detail"])
    except (ValueError, KeyError, TypeError, RecursionError):
        detail = answer.reason_phrase
    raise Denied(answer.status_code, detail)


@contextmanager
def contract() -> Iterator[None]:
    """What does not read as the contract says comes from something else, such as a captive portal."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise Offline(f"the answer is not that of an mnet server: {type(error).__name__}") from error
