"""The phone's side of the HTTP contract: one method a call, and two ways in which a call can fail."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import httpx

from export.errors import Reason, Refused
from toolchain.cloud.keys import load_public_keys
from toolchain.errors import UserError

_TIMEOUT = httpx.Timeout(10.0, connect=5.0)
_MAX_ANSWER_BYTES = 4 * 1024 * 1024


class Offline(Exception):
    """The server cannot be reached, is in trouble, or something else answers for it; try again later."""


class Denied(Exception):
    """The server answered that it will not do this; `status` is HTTP's."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"{detail} (HTTP {status})")
        self.status = status
        self.detail = detail


@dataclass(frozen=True)
class Identity:
    """Who a phone is to its server: its id, its secret token, and the public keys (JWKS) that it trusts."""

    device: str
    bundle: str
    token: str
    keys: dict[str, Any]


class CloudClient:
    """Calls to one server. Every method raises Offline or Denied; not to be shared between threads."""

    def __init__(self, server: str) -> None:
        """A client of the server at this URL; UserError where it is none."""
        try:
            self._http = httpx.Client(base_url=f"{server.rstrip('/')}/v1", timeout=_TIMEOUT)
        except httpx.InvalidURL as error:
            raise UserError(f"{server} is not a URL: {error}") from error
        if self._http.base_url.scheme not in ("http", "https") or not self._http.base_url.host:
            raise UserError(f"{server} is not the URL of a server, such as http://127.0.0.1:8765")

    def __enter__(self) -> "CloudClient":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def enrol(self, enrolment_key: str, bundle: str) -> Identity:
        """Become known to the server as a phone that runs `bundle`."""
        answer = self._call("POST", "/devices", enrolment_key, json={"bundle": bundle})
        with _contract():
            load_public_keys(answer["keys"])
            return Identity(str(answer["device"]), bundle, str(answer["token"]), answer["keys"])

    def upload(self, phone: Identity, samples: list[int]) -> int:
        """Upload a context; returns the version that will stem from it."""
        path = f"/devices/{phone.device}/context"
        answer = self._call("POST", path, phone.token, json={"samples": samples})
        with _contract():
            return int(answer["version"])

    def newest_release(self, phone: Identity, after: int, wait_s: float) -> str | None:
        """The newest release above version `after`, as JWS; waits up to `wait_s` seconds for one."""
        path = f"/devices/{phone.device}/release"
        query = {"after": after, "timeout": wait_s}
        timeout = httpx.Timeout(wait_s + 10.0, connect=5.0)
        answer = self._call("GET", path, phone.token, params=query, timeout=timeout)
        with _contract():
            return None if answer is None else str(answer["release"])

    def push(self, operator_key: str, devices: list[str] | None) -> dict[str, int]:
        """As the operator: release anew to these devices, or to all; the version that each will get."""
        answer = self._call("POST", "/push", operator_key, json={"devices": devices})
        with _contract():
            return dict(answer["versions"])

    def fetch_pack(self, phone: Identity, sha256: str, size: int) -> bytes:
        """The `size` bytes of a pack; a cut download goes on where it broke as long as each try brings some.

        Raises Refused with wrong_size if the server sends another number of bytes; what they are is for the
        caller to check.
        """
        data = bytearray()
        while len(data) < size:
            before = len(data)
            try:
                self._fetch_more(phone, sha256, size, data)
            except Offline:
                if len(data) == before:
                    raise
                continue
            if len(data) < size:
                raise Refused(Reason.WRONG_SIZE, f"the pack is {len(data)} bytes, its release says {size}")
        return bytes(data)

    def _fetch_more(self, phone: Identity, sha256: str, size: int, data: bytearray) -> None:
        ranged = {"Range": f"bytes={len(data)}-"} if data else {}
        with self._answered("GET", f"/packs/{sha256}", phone.token, headers=ranged) as answer:
            if answer.status_code != 206:
                data.clear()  # all of it from the start
            for chunk in answer.iter_raw():
                data += chunk
                if len(data) > size:
                    raise Refused(Reason.WRONG_SIZE, f"the pack is over the {size} bytes of its release")

    def _call(self, method: str, path: str, secret: str, **options: Any) -> Any:
        """The JSON that the server answers; None for an answer without content."""
        with self._answered(method, path, secret, **options) as answer:
            body = _read(answer)
        with _contract():
            return None if answer.status_code == 204 else dict(json.loads(body))

    @contextmanager
    def _answered(
        self, method: str, path: str, secret: str, headers: Mapping[str, str] | None = None, **options: Any
    ) -> Iterator[httpx.Response]:
        """An answer of success, its body still to be read; all else becomes Offline or Denied."""
        authorised = {"Authorization": f"Bearer {secret}", **(headers or {})}
        try:
            with self._http.stream(method, path, headers=authorised, **options) as answer:
                _check(answer)
                yield answer
        except httpx.TransportError as error:
            raise Offline(f"{type(error).__name__}: {error}") from error


def _read(answer: httpx.Response) -> bytes:
    body = bytearray()
    for chunk in answer.iter_bytes():
        body += chunk
        if len(body) > _MAX_ANSWER_BYTES:
            raise Offline("the answer is too long to be that of an mnet server")
    return bytes(body)


def _check(answer: httpx.Response) -> None:
    if answer.is_success:
        return
    if answer.status_code >= 500 or answer.status_code == 429:
        raise Offline(f"the server answered HTTP {answer.status_code}")
    try:
        detail = str(json.loads(_read(answer))["detail"])
    except (ValueError, KeyError, TypeError):
        detail = answer.reason_phrase
    raise Denied(answer.status_code, detail)


@contextmanager
def _contract() -> Iterator[None]:
    """What does not read as the contract says comes from something else, such as a captive portal."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Offline(f"the answer is not that of an mnet server: {type(error).__name__}") from error
