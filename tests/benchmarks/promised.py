"""A phone that keeps what a server promised it, and counts what was not kept."""

import threading
import time
from collections import Counter
from collections.abc import Sequence

import httpx

from mnet.export.format.bundle import Bundle
from mnet.export.format.errors import Refused
from mnet.export.format.packs import pack_digest, read_pack
from mnet.toolchain.contract.keys import load_public_keys
from mnet.toolchain.contract.release import verify_release


class Tally(Counter[str]):
    """What was seen, counted by several threads."""

    _turn = threading.Lock()

    def note(self, what: str, times: int = 1) -> None:
        """Count some more."""
        with self._turn:
            self[what] += times


class Phone:
    """A phone by its calls: what it was promised, and what it has."""

    def __init__(self, enrolment: dict[str, object], bundle: Bundle, count: Tally) -> None:
        self.id = str(enrolment["device"])
        self.accepted = self.version = 0
        self._headers = {"Authorization": f"Bearer {enrolment['token']}"}
        self._keys = load_public_keys(enrolment["keys"])  # type: ignore[arg-type]
        self._bundle = bundle
        self._count = count

    def upload(self, http: httpx.Client, samples: Sequence[int]) -> None:
        """Raises httpx.HTTPError where the server is gone; a version that was answered is a promise."""
        path = f"/devices/{self.id}/context"
        answer = http.post(path, json={"samples": list(samples)}, headers=self._headers)
        if answer.status_code == 202:
            self._count.note("uploads accepted")
            version = answer.json()["version"]
            if version <= max(self.accepted, self.version):
                self._count.note("backwards")
            self.accepted = version
        elif answer.status_code == 401:
            self._count.note("lost")

    def poll(self, http: httpx.Client, timeout_s: float) -> None:
        """Take what is newer, if it comes in time."""
        query = {"after": self.version, "timeout": timeout_s}
        answer = http.get(f"/devices/{self.id}/release", params=query, headers=self._headers)
        if answer.status_code != 200:
            return
        try:
            release = verify_release(
                answer.json()["release"],
                self._keys,
                device=self.id,
                bundle=self._bundle.id,
                newer_than=self.version,
                now=int(time.time()),
            )
        except Refused:
            self._count.note("backwards")
            return
        pack = http.get(f"/packs/{release.sha256}", headers=self._headers)
        if pack.status_code != 200:
            self._count.note(
                "packs asked for again"
            )  # a newer release took its place, or it was lost with the machine
            return
        try:
            if pack_digest(pack.content) != release.sha256:
                raise ValueError("another pack")
            read_pack(pack.content, self._bundle.manifest)
        except (ValueError, Refused):
            self._count.note("partial")
        self.version = release.version
        self._count.note("packs fetched")
        report = {"version": release.version, "outcome": "taken"}
        http.post(f"/devices/{self.id}/reports", json=report, headers=self._headers)
