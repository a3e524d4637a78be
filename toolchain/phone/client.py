"""The phone's side of the HTTP contract: one method a call; each raises Offline or Denied."""

import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import httpx

from mnet.export.format.errors import Reason, Refused
from mnet.export.format.packs import MAX_VERSION
from mnet.toolchain.contract.freshness import HEADER, NOT_MADE
from mnet.toolchain.contract.http import Denied, HttpClient, Offline, contract
from mnet.toolchain.contract.measurement import Totals
from mnet.toolchain.phone.backoff import Backoff
from mnet.toolchain.phone.identity import Identity

__all__ = ["CloudClient", "Context", "Denied", "Identity", "Newest", "Offline"]

# Samples of a device, oldest first: item ids, or vectors such as the embedding of an image.
Context = list[int] | list[list[float]] | list[str] | list[dict[str, Any]]


# A download may take this long, and then as long as it needs at the least rate.
_PACK_S = 30.0
_LEAST_BYTES_A_S = 8 * 1024
# Of one download, after cuts.
_RESUMPTIONS = 8


@dataclass(frozen=True)
class Newest:
    """The answer to a poll: the newest `release` as JWS, or the signed statement that there is none.

    `not_made` is the version that did not come of the last context, because the server could not read it; 0: none.
    """

    release: str | None
    nothing_newer: str | None = None
    not_made: int = 0


class CloudClient(HttpClient):
    """What a phone asks of its server."""

    def enrol(self, enrolment_key: str, bundle: str, cohort: str | None = None) -> Identity:
        """Become known to the server as a phone that runs `bundle`."""
        body = {"bundle": bundle} if cohort is None else {"bundle": bundle, "cohort": cohort}
        answer = self.call("POST", "/devices", enrolment_key, json=body)
        with contract():
            return Identity.checked({**answer, "bundle": bundle, "retired": {"keys": []}})

    def upload(self, phone: Identity, samples: Context) -> int:
        """Upload a context; returns the version that will stem from it."""
        path = f"/devices/{phone.device}/context"
        answer = self.call("POST", path, phone.token, json={"samples": samples})
        with contract():
            return _version(answer["version"])

    def newest_release(self, phone: Identity, after: int, wait_s: float) -> Newest:
        """The newest release above version `after`; waits up to `wait_s` seconds for one."""
        path = f"/devices/{phone.device}/release"
        query = {"after": after, "timeout": wait_s, "bundle": phone.bundle, "keys": phone.number}
        timeout = httpx.Timeout(wait_s + 10.0, connect=5.0)
        with self.answered(
            "GET", path, phone.token, within_s=wait_s + 10.0, params=query, timeout=timeout
        ) as answer:
            if answer.status_code == 204:
                not_made = answer.headers.get(NOT_MADE, "")
                told = int(not_made) if re.fullmatch("[0-9]{1,10}", not_made) else 0
                return Newest(None, answer.headers.get(HEADER), told)
            content = self.content(answer)
        with contract():
            return Newest(_text(content["release"]))

    def report(self, phone: Identity, version: int, outcome: str) -> None:
        """Report to the server what became of a release: `taken`, or the name of the refusal."""
        body = {"version": version, "outcome": outcome, "bundle": phone.bundle}
        self.call("POST", f"/devices/{phone.device}/reports", phone.token, json=body)

    def send_totals(self, phone: Identity, totals: Mapping[tuple[int, str], Totals]) -> None:
        """Send what the app measured, by version and metric; the server keeps the largest count of each."""
        rows = [
            {"version": version, "metric": metric, **asdict(each)}
            for (version, metric), each in sorted(totals.items())
        ]
        body = {"bundle": phone.bundle, "totals": rows}
        self.call("PUT", f"/devices/{phone.device}/measurements", phone.token, json=body)

    def key_statements(self, phone: Identity) -> list[str]:
        """The server's public keys, signed once by each of them."""
        answer = self.call("GET", "/keys", phone.token)
        with contract():
            return [_text(statement) for statement in answer["statements"]]

    def fetch_pack(self, phone: Identity, sha256: str, size: int) -> bytes:
        """The `size` bytes of a pack; a cut download is resumed, a few times, after a pause.

        Raises Offline where it takes longer than `size` may take at the least rate, Refused with wrong_size if the
        server sends another number of bytes; what they are is for the caller to check.
        """
        end, backoff = time.monotonic() + _PACK_S + size / _LEAST_BYTES_A_S, Backoff()
        data = bytearray()
        for resumption in range(_RESUMPTIONS + 1):
            before = len(data)
            try:
                self._fetch_more(phone, sha256, size, data, end - time.monotonic())
            except Offline:
                if len(data) <= before or resumption == _RESUMPTIONS:
                    raise
                time.sleep(min(backoff.next(), max(0.0, end - time.monotonic())))
                continue
            if len(data) < size:
                raise Refused(Reason.WRONG_SIZE, f"the pack is {len(data)} bytes, its release says {size}")
            return bytes(data)
        raise AssertionError("the last resumption returns or raises")

    def _fetch_more(self, phone: Identity, sha256: str, size: int, data: bytearray, within_s: float) -> None:
        ranged = {"Range": f"bytes={len(data)}-"} if data else {}
        path = f"/packs/{sha256}"
        with self.answered("GET", path, phone.token, headers=ranged, within_s=within_s) as answer:
            if answer.status_code != 206:
                data.clear()  # all of it from the start
            for chunk in answer.iter_raw():
                data += chunk
                if len(data) > size:
                    raise Refused(Reason.WRONG_SIZE, f"the pack is over the {size} bytes of its release")


def _version(value: Any) -> int:
    if type(value) is not int or not 1 <= value <= MAX_VERSION:
        raise ValueError(f"a version is 1 to {MAX_VERSION}")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value
