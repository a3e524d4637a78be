"""Whatever a server does, a phone serves weights that it was meant to have, and an honest server finds it again."""

import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from mnet.export.format.errors import Refused
from mnet.export.format.probe import distance
from mnet.toolchain.phone.client import CloudClient, Denied, Offline
from mnet.toolchain.phone.phone import Phone
from tests.vectors.hostile_server import VERSIONS, HostileServer

DEADLINE_S = 30.0


def test_a_hostile_server_neither_ends_nor_holds_nor_misleads_a_phone(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mnet.toolchain.phone.backoff.Backoff.next", lambda self: 0.001)
    count = request.config.getoption("--conversations")
    server = HostileServer(seed=17)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    found, slowest, state = Counter[str](), 0.0, tmp_path

    def attempt(phone: Phone, client: CloudClient) -> None:
        if not phone.enrolled:
            phone.enrol(client, "key")
        elif found.total() % 7 == 0:
            phone.upload(client, [1, 2, 3])
        else:
            found["taken" if phone.poll(client, 0) else "nothing"] += 1

    def right(phone: Phone) -> bool:
        live = phone.live
        probe = server.bundle.probe(live.run(server.bundle.golden.inputs[0]))
        expected = server.probes.get(live.version) or server.bundle.probe(server.bundle.golden.default[0])
        return distance(probe, expected) <= server.bundle.manifest.golden.tolerance

    for life in range(count // 25):
        # Two lives a phone, of which the second starts on what the first one kept.
        state = tmp_path / f"phone-{life // 2}"
        phone = Phone(server.bundle, state, lambda *_, **__: None)
        newest = phone.version
        for _ in range(25):
            start = time.monotonic()
            with CloudClient(server.url) as client:
                try:
                    attempt(phone, client)
                except (Offline, Denied, Refused) as error:
                    found[type(error).__name__] += 1
            slowest = max(slowest, time.monotonic() - start)
            assert phone.version >= newest
            newest = phone.version
            assert right(phone)
        phone.close()
    print(f"\n{count} conversations, the slowest {slowest:.1f} s: {dict(found.most_common())}")
    assert slowest < DEADLINE_S
    assert min(found[name] for name in ("taken", "Offline", "Denied", "Refused")) > 0
    server.honest = True
    phone = Phone(server.bundle, state, lambda *_, **__: None)
    with CloudClient(server.url) as client:
        while phone.version < VERSIONS:
            attempt(phone, client)
    assert right(phone)
    server.shutdown()
    server.server_close()
