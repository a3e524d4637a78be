"""A cloud that says what a test has it say, and phones of it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from joserfc.jwk import ECKey
from torch import Tensor

from mnet.export.format.bundle import Bundle
from mnet.export.format.packs import pack_digest, write_pack
from mnet.toolchain.cloud.generation import PackGenerator
from mnet.toolchain.contract.keys import public_keys
from mnet.toolchain.contract.release import Release, sign_release
from mnet.toolchain.phone.client import CloudClient, Identity, Newest
from mnet.toolchain.phone.phone import Phone


@dataclass
class Cloud:
    """A server's knowledge, to make good releases and packs with, and bad ones."""

    bundle: Bundle
    generator: PackGenerator
    key: ECKey
    other_key: ECKey

    def pack(self, version: int) -> bytes:
        return self.generator.packs([[version, version + 1, version + 2]], [version])[0]

    def release(self, version: int, pack: bytes) -> Release:
        now = int(time.time())
        return Release("phone", self.bundle.id, version, pack_digest(pack), len(pack), now, now + 60)

    def packed(self, change: Callable[[dict[str, Tensor]], None], **facts: Any) -> bytes:
        """A pack of version 2 with its tensors changed, all else as it should be."""
        parameters = {name: value.clone() for name, value in self.bundle.default_weights.items()}
        change(parameters)
        stated = {"bundle_id": self.bundle.id, "version": 2, "generator": "g", "probe": [0.0] * 16} | facts
        return write_pack(parameters, **stated)


class ScriptedClient(CloudClient):
    """Answers what the script says."""

    def __init__(self, cloud: Cloud) -> None:
        super().__init__("http://127.0.0.1:1")
        self.cloud = cloud
        self.jws: str | None = None
        self.nothing_newer: str | None = None
        self.pack = b""
        self.reports: list[tuple[int, str]] = []
        self.statements: list[str] = []
        self.asked: list[int] = []
        self.fetched = 0

    def offer(self, pack: bytes, release: Release | None = None, jws: str | None = None) -> None:
        claims = release or self.cloud.release(2, pack)
        self.jws, self.pack = jws or sign_release(self.cloud.key, claims), pack

    def enrol(self, enrolment_key: str, bundle: str, cohort: str | None = None) -> Identity:
        return Identity("phone", bundle, "phone.secret", public_keys(self.cloud.key))

    def newest_release(self, phone: Identity, after: int, wait_s: float) -> Newest:
        self.asked.append(after)
        return Newest(self.jws, self.nothing_newer)

    def report(self, phone: Identity, version: int, outcome: str) -> None:
        self.reports.append((version, outcome))

    def key_statements(self, phone: Identity) -> list[str]:
        return self.statements

    def fetch_pack(self, phone: Identity, sha256: str, size: int) -> bytes:
        self.fetched += 1
        return self.pack


_running: dict[Path, Phone] = {}


def start(
    cloud: Cloud, state: Path, clock: Callable[[], float] = time.time
) -> tuple[Phone, list[dict[str, Any]]]:
    """A phone on its state folder; one that was started on it before has ended."""
    events: list[dict[str, Any]] = []
    if before := _running.pop(state, None):
        before.close()
    phone = Phone(
        cloud.bundle, state, lambda event, **fields: events.append({"event": event, **fields}), clock
    )
    _running[state] = phone
    return phone, events


def take(phone: Phone, client: ScriptedClient, version: int) -> None:
    pack = client.cloud.pack(version)
    client.offer(pack, client.cloud.release(version, pack))
    swapped = phone.poll(client, 0)
    assert swapped is not None
    assert (swapped.version, swapped.bytes, swapped.persisted) == (version, len(pack), True)
