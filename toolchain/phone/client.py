"""The phone's side of the HTTP contract: one method a call; each raises Offline or Denied."""

from dataclasses import dataclass, field
from typing import Any

import httpx

from mnet.export.format.errors import Reason, Refused
from mnet.toolchain.contract.http import Denied, HttpClient, Offline, contract
from mnet.toolchain.contract.keys import load_public_keys

__all__ = ["CloudClient", "Context", "Denied", "Identity", "Offline"]

# Samples of a device, oldest first: item ids, or vectors such as the embedding of an image.
Context = list[int] | list[list[float]]


@dataclass(frozen=True)
class Identity:
    """Who a phone is to its server: its id, its secret token, and the public keys (JWKS) that it trusts.

    `keys_at` is when the server stated these keys (Unix seconds); `retired` are keys that it stated before, good
    for what this phone kept then and for nothing new.
    """

    device: str
    bundle: str
    token: str
    keys: dict[str, Any]
    keys_at: int = 0
    retired: dict[str, Any] = field(default_factory=lambda: {"keys": []})


class CloudClient(HttpClient):
    """What a phone asks of its server."""

    def enrol(self, enrolment_key: str, bundle: str) -> Identity:
        """Become known to the server as a phone that runs `bundle`."""
        answer = self.call("POST", "/devices", enrolment_key, json={"bundle": bundle})
        with contract():
            load_public_keys(answer["keys"])
            return Identity(
                device=str(answer["device"]),
                bundle=bundle,
                token=str(answer["token"]),
                keys=answer["keys"],
                keys_at=int(answer["keys_at"]),
            )

    def upload(self, phone: Identity, samples: Context) -> int:
        """Upload a context; returns the version that will stem from it."""
        path = f"/devices/{phone.device}/context"
        answer = self.call("POST", path, phone.token, json={"samples": samples})
        with contract():
            return int(answer["version"])

    def newest_release(self, phone: Identity, after: int, wait_s: float) -> str | None:
        """The newest release above version `after`, as JWS; waits up to `wait_s` seconds for one."""
        path = f"/devices/{phone.device}/release"
        query = {"after": after, "timeout": wait_s, "bundle": phone.bundle}
        timeout = httpx.Timeout(wait_s + 10.0, connect=5.0)
        answer = self.call("GET", path, phone.token, params=query, timeout=timeout)
        with contract():
            return None if answer is None else str(answer["release"])

    def report(self, phone: Identity, version: int, outcome: str) -> None:
        """Tell the server what became of a release: `taken`, or the name of the refusal."""
        body = {"version": version, "outcome": outcome, "bundle": phone.bundle}
        self.call("POST", f"/devices/{phone.device}/reports", phone.token, json=body)

    def key_statements(self, phone: Identity) -> list[str]:
        """The server's public keys, signed once by each of them."""
        answer = self.call("GET", "/keys", phone.token)
        with contract():
            return [str(statement) for statement in answer["statements"]]

    def fetch_pack(self, phone: Identity, sha256: str, size: int) -> bytes:
        """The `size` bytes of a pack; a cut download goes on where it broke as long as each try gets further.

        Raises Refused with wrong_size if the server sends another number of bytes; what they are is for the
        caller to check.
        """
        data = bytearray()
        while len(data) < size:
            before = len(data)
            try:
                self._fetch_more(phone, sha256, size, data)
            except Offline:
                if len(data) <= before:
                    raise
                continue
            if len(data) < size:
                raise Refused(Reason.WRONG_SIZE, f"the pack is {len(data)} bytes, its release says {size}")
        return bytes(data)

    def _fetch_more(self, phone: Identity, sha256: str, size: int, data: bytearray) -> None:
        ranged = {"Range": f"bytes={len(data)}-"} if data else {}
        with self.answered("GET", f"/packs/{sha256}", phone.token, headers=ranged) as answer:
            if answer.status_code != 206:
                data.clear()  # all of it from the start
            for chunk in answer.iter_raw():
                data += chunk
                if len(data) > size:
                    raise Refused(Reason.WRONG_SIZE, f"the pack is over the {size} bytes of its release")
