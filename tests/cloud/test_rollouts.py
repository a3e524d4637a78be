"""Roll-outs: in stages, stopped by the phones that they harm, and taken back."""

from collections.abc import Sequence

import pytest

from export.errors import Reason
from toolchain.cloud.audit import Audit
from toolchain.cloud.database import Database
from toolchain.cloud.ledger import Issued, Ledger
from toolchain.cloud.registry import Registry
from toolchain.cloud.release import Release
from toolchain.cloud.rollouts import Conflict, Rollouts

NOW = 1_700_000_000
DEVICES = [f"d{n:02}" for n in range(40)]


@pytest.fixture
def ledger(database: Database) -> Ledger:
    """Forty phones on their version 1."""
    registry, ledger = Registry(database), Ledger(database)
    for device in DEVICES:
        registry.enrol(device, "hash", "bundle")
        ledger.add_context(device, [1])
    publish(ledger, DEVICES)
    return ledger


@pytest.fixture
def rollouts(database: Database, ledger: Ledger) -> Rollouts:
    return Rollouts(database)


def publish(ledger: Ledger, devices: Sequence[str]) -> list[str]:
    """Release what these devices wait for, as the publisher does; returns who got something."""
    wanted = ledger.wanted(devices)
    ledger.add_releases(
        [
            Issued(
                Release(
                    each.device, each.bundle, each.version, f"{each.device}-{each.version}", 1, NOW, NOW + 60
                ),
                f"{each.device} v{each.version}",
                each.rollout,
            )
            for each in wanted
        ]
    )
    return [each.device for each in wanted]


def newest(ledger: Ledger, device: str) -> str | None:
    return ledger.release_after(device, "bundle", 0, NOW)


def test_a_push_renews_those_with_a_context_or_nobody(database: Database, rollouts: Rollouts) -> None:
    Registry(database).enrol("new", "hash", "bundle")
    assert rollouts.start(["d00"], 100, 0).versions == {"d00": 2}
    assert "new" not in rollouts.start(None, 100, 0).versions
    with pytest.raises(LookupError, match="new, nobody"):
        rollouts.start(["d00", "new", "nobody"], 100, 0)
    assert rollouts.start(["d00"], 100, 0).versions == {"d00": 4}


def test_stages_reach_everyone_once(rollouts: Rollouts) -> None:
    first = rollouts.start(None, 25, 0)
    second = rollouts.extend(first.rollout, 50)
    again = rollouts.extend(first.rollout, 50)
    last = rollouts.extend(first.rollout, 100)
    assert 0 < len(first.versions) < len(first.versions) + len(second.versions) < len(DEVICES)
    assert again.versions == {}
    reached = [*first.versions, *second.versions, *last.versions]
    assert sorted(reached) == DEVICES
    other = rollouts.start(None, 25, 0)
    assert other.versions.keys() != first.versions.keys(), "it is not always the same phones that go first"
    with pytest.raises(LookupError):
        rollouts.extend(999, 50)


def test_failed_self_tests_stop_it(database: Database, ledger: Ledger, rollouts: Rollouts) -> None:
    stage = rollouts.start(DEVICES[:20], 100, 0.1)
    reached = publish(ledger, DEVICES[:10])

    def report(device: str, outcome: str) -> int | None:
        return rollouts.report(device, "bundle", stage.versions[device], outcome)

    assert report(reached[0], "taken") is None
    assert report(reached[1], Reason.WRONG_HASH) is None, "what happens on the way is not the push's fault"
    assert report(reached[2], Reason.SELF_TEST_FAILED) is None, "one of ten is not above 10 %"
    assert report(reached[2], Reason.SELF_TEST_FAILED) is None, "the same phone twice is one phone"
    assert report(reached[3], Reason.SELF_TEST_FAILED) == stage.rollout
    assert rollouts.status(stage.rollout) | {"started_at": 0} == {
        "id": stage.rollout,
        "percent": 100.0,
        "stop_above": 0.1,
        "state": "stopped",
        "started_at": 0,
        "released": 10,
        "outcomes": {"taken": 1, "wrong_hash": 1, "self_test_failed": 2, "not reported": 6},
    }
    # Nothing more of it is made, and what phones have not fetched yet is withheld.
    assert publish(ledger, DEVICES) == []
    assert ledger.unreleased(["bundle"], float("inf")) == []
    assert newest(ledger, reached[4]) == f"{reached[4]} v1"
    with pytest.raises(Conflict, match="stopped"):
        rollouts.extend(stage.rollout, 100)
    # A phone that uploads goes on with a version of its own.
    version = ledger.add_context(DEVICES[15], [2])
    assert publish(ledger, DEVICES) == [DEVICES[15]]
    assert newest(ledger, DEVICES[15]) == f"{DEVICES[15]} v{version}"
    assert [entry["action"] for entry in Audit(database).newest(2)] == ["stopped", "pushed"]


def test_a_roll_back_brings_back_what_was_there(
    database: Database, ledger: Ledger, rollouts: Rollouts
) -> None:
    chosen = DEVICES[:4]
    stage = rollouts.start(chosen, 100, 0)
    publish(ledger, chosen[:3])  # the fourth waits still
    ledger.add_context(chosen[2], [7])  # and the third has weights of its own since
    publish(ledger, [chosen[2]])
    back = rollouts.roll_back(stage.rollout)
    assert back.versions == {chosen[0]: 3, chosen[1]: 3}
    wanted = {each.device: (each.version, each.restores, each.sha256) for each in ledger.wanted(DEVICES)}
    assert wanted == {device: (3, 1, f"{device}-1") for device in chosen[:2]}
    publish(ledger, chosen)
    assert newest(ledger, chosen[0]) == f"{chosen[0]} v3"
    assert rollouts.roll_back(stage.rollout).versions == {}, "a second one does no harm"
    assert rollouts.status(stage.rollout)["state"] == "rolled back"
    with pytest.raises(LookupError):
        rollouts.roll_back(999)


def test_before_the_first_weights_of_a_phone_are_its_defaults(
    database: Database, ledger: Ledger, rollouts: Rollouts
) -> None:
    Registry(database).enrol("new", "hash", "bundle")
    ledger.add_context("new", [1])
    stage = rollouts.start(["new"], 100, 0)
    publish(ledger, ["new"])
    assert rollouts.roll_back(stage.rollout).versions == {"new": 3}
    (wanted,) = ledger.wanted(["new"])
    assert (wanted.restores, wanted.sha256) == (0, None)
