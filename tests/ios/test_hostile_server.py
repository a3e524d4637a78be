"""Whatever a server does, the Swift phone outlives it, and an honest server finds it again."""

import threading
from collections import Counter
from dataclasses import asdict
from typing import Any

from ios.hosttest.judge import Judge
from mnet.export.format.probe import distance
from tests.vectors.hostile_server import ROOTED, VERSIONS, HostileServer


def test_a_hostile_server_neither_ends_nor_holds_nor_misleads_the_swift_phone(judge: Judge) -> None:
    server = HostileServer(seed=29)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    found = Counter[str]()
    # Every second one comes with root keys.
    phones: list[dict[str, Any]] = [
        {"phone": "phone-0", "key": "key"},
        {"phone": "phone-1", "key": ROOTED, "roots": asdict(server.roots)},
    ]
    for phone in [*phones, *phones]:  # a second life starts on what the first one kept
        lived = judge.ask(do="live", url=server.url, conversations=25, **phone)
        found.update(lived["outcomes"])
        assert lived["slowest"] < 31
        _is_right(server, lived)
    assert min(found[name] for name in ("offline", "denied", "refused")) > 0, found
    server.honest = True
    for phone in phones:
        again = judge.ask(do="live", url=server.url, conversations=4, **phone)
        assert again["version"] == VERSIONS
        _is_right(server, again)
    # Those that only follow, until each is cancelled at some point of its poll.
    for number in range(2, 22):
        followed = judge.ask(
            do="follow", url=server.url, version=VERSIONS, phone=f"phone-{number}", key="key"
        )
        assert followed["events"] == ["enrolled", "swapped", "connected"]
        assert followed["version"] == VERSIONS
        assert followed["ended_after"] < 20
    server.shutdown()
    server.server_close()


def _is_right(server: HostileServer, lived: dict[str, Any]) -> None:
    """The weights that answer are those of the version that they are said to be."""
    bundle = server.bundle
    expected = server.probes.get(lived["version"]) or bundle.probe(bundle.golden.default[0])
    assert distance(lived["probe"], expected) <= bundle.manifest.golden.tolerance
