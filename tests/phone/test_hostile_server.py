"""Whatever a server does, a phone serves weights that it was meant to have, and an honest server finds it again."""

import gc
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from mnet.export.format.errors import Refused
from mnet.export.format.probe import distance
from mnet.toolchain.phone.client import CloudClient, Denied, Offline
from mnet.toolchain.phone.phone import Phone
from tests.vectors.hostile_server import ROOTED, VERSIONS, HostileServer

DEADLINE_S = 30.0
# Conversations of one life of a phone; its second life starts on what the first one kept.
LIFE = 25
# By which the process, with the server in it, may be larger at the end than after a fifth of the conversations.
GROWTH_MB = 48


class Encounter:
    """Phones that meet a hostile server, one after the other, and what came of it."""

    def __init__(self, server: HostileServer, folder: Path) -> None:
        self.server, self.folder = server, folder
        self.found = Counter[str]()
        self.slowest = 0.0
        self.resident: list[float] = []

    def phone(self, number: int) -> tuple[Phone, str]:
        """Every second one comes with root keys; with its enrolment key."""
        rooted = number % 2 == 1
        state, roots = self.folder / f"phone-{number}", self.server.roots if rooted else None
        phone = Phone(self.server.bundle, state, lambda *_, **__: None, roots=roots)
        return phone, ROOTED if rooted else "key"

    def attempt(self, phone: Phone, client: CloudClient, key: str) -> None:
        """One conversation; raises what a caller of the phone may expect."""
        if not phone.enrolled:
            phone.enrol(client, key)
            self.found["enrolled"] += 1
        elif self.found.total() % 7 == 0:
            phone.upload(client, [1, 2, 3])
            self.found["uploaded"] += 1
        else:
            self.found["taken" if phone.poll(client, 0) else "nothing"] += 1

    def right(self, phone: Phone) -> bool:
        """Whether the weights that answer are those of the version that they are said to be."""
        live, bundle = phone.live, self.server.bundle
        probe = bundle.probe(live.run(bundle.golden.inputs[0]))
        expected = self.server.probes.get(live.version) or bundle.probe(bundle.golden.default[0])
        return distance(probe, expected) <= bundle.manifest.golden.tolerance

    def live_through(self, number: int) -> None:
        """One life of a phone."""
        phone, key = self.phone(number)
        newest = phone.version
        for _ in range(LIFE):
            start = time.monotonic()
            with CloudClient(self.server.url) as client:
                try:
                    self.attempt(phone, client, key)
                except (Offline, Denied, Refused) as error:
                    self.found[type(error).__name__] += 1
            self.slowest = max(self.slowest, time.monotonic() - start)
            assert phone.version >= newest
            newest = phone.version
            assert self.right(phone)
        phone.close()
        gc.collect()
        self.resident.append(resident_mb())

    def find_again(self, number: int) -> None:
        """What an honest server makes of a phone, without a person."""
        phone, key = self.phone(number)
        with CloudClient(self.server.url) as client:
            for _ in range(4):  # enrol, and then an upload between two polls
                if phone.version < VERSIONS:
                    self.attempt(phone, client, key)
        assert phone.version == VERSIONS
        assert self.right(phone)
        phone.close()


def resident_mb() -> float:
    """What this process holds in memory now."""
    (line,) = (each for each in Path("/proc/self/status").read_text().splitlines() if "VmRSS" in each)
    return int(line.split()[1]) / 1024


def test_a_hostile_server_neither_ends_nor_holds_nor_misleads_a_phone(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mnet.toolchain.phone.backoff.Backoff.next", lambda self: 0.001)
    lives = request.config.getoption("--conversations") // LIFE
    server = HostileServer(seed=17)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    encounter = Encounter(server, tmp_path)
    for life in range(lives):
        encounter.live_through(life // 2)
    found, resident = encounter.found, encounter.resident
    first, last = resident[lives // 5], resident[-1]
    print(
        f"\n{lives * LIFE} conversations, the slowest {encounter.slowest:.1f} s: {dict(found.most_common())}; "
        f"in memory after a fifth {first:.0f} MB, at the end {last:.0f} MB, at most {max(resident):.0f} MB"
    )
    assert encounter.slowest < DEADLINE_S
    assert min(found[name] for name in ("taken", "Offline", "Denied", "Refused")) > 0
    assert last - first < GROWTH_MB
    server.honest = True
    for number in range((lives + 1) // 2):
        encounter.find_again(number)
    server.shutdown()
    server.server_close()
