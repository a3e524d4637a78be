"""Roll-outs: in stages, stopped by the phones that they harm, and taken back."""

import threading
import time
from collections.abc import Callable

import pytest
from sqlalchemy import update

from mnet.export.format.errors import Reason
from mnet.toolchain.cloud.audit import Audit
from mnet.toolchain.cloud.database import Database
from mnet.toolchain.cloud.ledger import Ledger
from mnet.toolchain.cloud.registry import Registry
from mnet.toolchain.cloud.rollouts import Conflict, Rollouts
from mnet.toolchain.cloud.tables import Device
from mnet.toolchain.cloud.wilson import share_at_least
from tests.cloud.driven import extended, fetched, made, on_version_one, publish, rolled_back, started

DEVICES = [f"d{n:02}" for n in range(40)]


@pytest.fixture
def ledger(database: Database) -> Ledger:
    """Forty phones on their version 1."""
    return on_version_one(database, DEVICES)


def newest(ledger: Ledger, device: str) -> str | None:
    return ledger.release_after(device, "bundle", 0)


def test_a_push_renews_those_with_a_context_or_nobody(database: Database, rollouts: Rollouts) -> None:
    Registry(database).enrol("new", "hash", "bundle")
    assert started(rollouts, ["d00"], 100, 0).versions == {"d00": 2}
    assert "new" not in started(rollouts, None, 100, 0).versions
    with pytest.raises(LookupError, match="new, nobody"):
        started(rollouts, ["d00", "new", "nobody"], 100, 0)
    assert started(rollouts, ["d00"], 100, 0).versions == {"d00": 4}


def test_stages_reach_everyone_once(rollouts: Rollouts) -> None:
    first = started(rollouts, None, 25, 0)
    second = extended(rollouts, first.rollout, 50)
    again = extended(rollouts, first.rollout, 50)
    last = extended(rollouts, first.rollout, 100)
    assert 0 < len(first.versions) < len(first.versions) + len(second.versions) < len(DEVICES)
    assert again.versions == {}
    reached = [*first.versions, *second.versions, *last.versions]
    assert sorted(reached) == DEVICES
    other = started(rollouts, None, 25, 0)
    assert other.versions.keys() != first.versions.keys(), "it is not always the same phones that go first"
    with pytest.raises(LookupError):
        extended(rollouts, 999, 50)


def test_failed_self_tests_stop_it(database: Database, ledger: Ledger, rollouts: Rollouts) -> None:
    stage = started(rollouts, DEVICES[:20], 100, 0.1)
    reached = publish(ledger, DEVICES[:10])

    def report(device: str, outcome: str) -> int | None:
        return rollouts.report(device, "bundle", stage.versions[device], outcome)

    assert report(reached[0], "taken") is None
    assert report(reached[1], Reason.WRONG_HASH) is None, "what happens on the way is not the push's fault"
    for _ in range(3):
        assert report(reached[2], Reason.SELF_TEST_FAILED) is None, "the same phone twice is one phone"
    assert report(reached[3], Reason.SELF_TEST_FAILED) is None, "two phones may be broken by themselves"
    assert report(reached[4], Reason.SELF_TEST_FAILED) == stage.rollout
    assert rollouts.status(stage.rollout) | {"started_at": 0} == {
        "id": stage.rollout,
        "percent": 100.0,
        "proposed": None,
        "proposed_by": None,
        "stop_above": 0.1,
        "state": "stopped",
        "started_at": 0,
        "reached": 20,
        "waiting": 0,
        "released": 10,
        "hold_out": 0,
        "held_out": 0,
        "outcomes": {"taken": 1, "wrong_hash": 1, "self_test_failed": 3, "not reported": 5},
    }
    # Nothing more of it is made, and what phones have not fetched yet is withheld.
    assert publish(ledger, DEVICES) == []
    assert ledger.unreleased(["bundle"], float("inf")) == []
    assert newest(ledger, reached[5]) == f"{reached[5]} v1"
    with pytest.raises(Conflict, match="stopped"):
        extended(rollouts, stage.rollout, 100)
    # A phone that uploads continues with a version of its own.
    version = ledger.add_context(DEVICES[15], [2])
    assert publish(ledger, DEVICES) == [DEVICES[15]]
    assert newest(ledger, DEVICES[15]) == f"{DEVICES[15]} v{version}"
    assert [entry["action"] for entry in Audit(database).newest(2)] == ["stopped", "pushed"]


def test_a_roll_back_brings_back_what_was_there(
    database: Database, ledger: Ledger, rollouts: Rollouts
) -> None:
    chosen = DEVICES[:4]
    stage = started(rollouts, chosen, 100, 0)
    publish(ledger, chosen[:3])  # the fourth waits still
    ledger.add_context(chosen[2], [7])  # and the third has weights of its own since
    publish(ledger, [chosen[2]])
    back = rolled_back(rollouts, stage.rollout)
    assert back.versions == {chosen[0]: 3, chosen[1]: 3}
    wanted = {each.device: (each.version, each.restores, each.sha256) for each in ledger.wanted(DEVICES)}
    assert wanted == {device: (3, 1, f"{device}-1") for device in chosen[:2]}
    publish(ledger, chosen)
    assert newest(ledger, chosen[0]) == f"{chosen[0]} v3"
    assert rolled_back(rollouts, stage.rollout).versions == {}, "a second one does no harm"
    assert rollouts.status(stage.rollout)["state"] == "rolled back"
    with pytest.raises(LookupError):
        rolled_back(rollouts, 999)


def test_before_the_first_weights_of_a_phone_are_its_defaults(
    database: Database, ledger: Ledger, rollouts: Rollouts
) -> None:
    Registry(database).enrol("new", "hash", "bundle")
    ledger.add_context("new", [1])
    with database.writing() as connection:  # as if its release had never been made
        connection.execute(update(Device).where(Device.id == "new").values(pending=False))
    stage = started(rollouts, ["new"], 100, 0)
    publish(ledger, ["new"])
    assert rolled_back(rollouts, stage.rollout).versions == {"new": 3}
    (wanted,) = ledger.wanted(["new"])
    assert (wanted.restores, wanted.sha256) == (0, None)


def test_what_an_upload_is_owed_outlives_a_push_that_is_stopped_or_taken_back(
    ledger: Ledger, rollouts: Rollouts
) -> None:
    uploaded = ledger.add_context("d00", [2])
    stage = started(rollouts, DEVICES[:4], 100, 0)
    assert stage.versions == dict.fromkeys(DEVICES[1:4], 2), "the first is owed something already"
    assert uploaded == 2
    back = rolled_back(rollouts, stage.rollout)
    assert back.versions == {}
    assert publish(ledger, DEVICES) == ["d00"]
    (release, _) = ledger.history("d00")
    assert (release["version"], release["rollout"]) == (2, None)


def test_a_push_leaves_a_roll_back_and_an_installation_that_wait(
    database: Database, ledger: Ledger, rollouts: Rollouts
) -> None:
    first = started(rollouts, ["d00"], 100, 0)
    publish(ledger, ["d00"])
    assert rolled_back(rollouts, first.rollout).versions == {"d00": 3}
    Registry(database).install("d01", ["bundle", "other"])
    second = started(rollouts, ["d00", "d01"], 100, 0)
    assert second.versions == {}
    rolled_back(rollouts, second.rollout)
    wanted = {(each.device, each.bundle, each.restores, each.sha256) for each in ledger.wanted(DEVICES)}
    assert wanted == {("d00", "bundle", 1, "d00-1"), ("d01", "other", None, None)}


def test_weights_of_a_roll_out_that_is_over_never_come_back(ledger: Ledger, rollouts: Rollouts) -> None:
    first = started(rollouts, ["d00", "d01", "d02"], 100, 0)
    publish(ledger, DEVICES)
    for device in ("d00", "d01", "d02"):
        stopped = rollouts.report(device, "bundle", 2, Reason.SELF_TEST_FAILED)
    assert stopped == first.rollout
    second = started(rollouts, ["d00"], 100, 0)
    assert ledger.add_releases(made(ledger.wanted(["d00"]))).useless == [], "the good ones are kept"
    assert rolled_back(rollouts, second.rollout).versions == {"d00": 4}
    (wanted,) = ledger.wanted(["d00"])
    assert (wanted.restores, wanted.sha256, wanted.rollout) == (1, "d00-1", None)
    publish(ledger, ["d00"])
    assert newest(ledger, "d00") == "d00 v4"


def test_what_comes_back_is_of_the_roll_out_that_it_came_with(ledger: Ledger, rollouts: Rollouts) -> None:
    first = started(rollouts, ["d00"], 100, 0)
    publish(ledger, ["d00"])
    second = started(rollouts, ["d00"], 100, 0)
    publish(ledger, ["d00"])
    rolled_back(rollouts, second.rollout)
    (under_way,) = ledger.wanted(["d00"])
    assert (under_way.sha256, under_way.rollout) == ("d00-2", first.rollout)
    rolled_back(rollouts, first.rollout)  # while that is still on its way
    assert ledger.add_releases(made([under_way])).published == []
    (wanted,) = ledger.wanted(["d00"])
    assert (wanted.version, wanted.rollout, wanted.sha256) == (4, None, None), "version 1 is deleted by now"


@pytest.mark.parametrize("end", ["stopped", "rolled back"])
def test_a_batch_under_way_is_not_published_once_its_roll_out_is_over(
    ledger: Ledger, rollouts: Rollouts, end: str
) -> None:
    stage = started(rollouts, DEVICES[:6], 100, 0)
    publish(ledger, DEVICES[:3])
    under_way = made(ledger.wanted(DEVICES))
    assert len(under_way) == 3
    if end == "stopped":
        for device in DEVICES[:3]:
            rollouts.report(device, "bundle", 2, Reason.SELF_TEST_FAILED)
    else:
        rolled_back(rollouts, stage.rollout)
    assert rollouts.status(stage.rollout)["state"] == end
    ledger.add_context("d05", [5])
    publish(ledger, ["d05"])
    added = ledger.add_releases(under_way)
    assert added.published == []
    assert sorted(added.useless) == [(device, f"{device}-2") for device in DEVICES[3:6]]
    assert [newest(ledger, device) for device in DEVICES[:4]] == [f"{device} v1" for device in DEVICES[:4]]


def test_phones_that_reported_are_what_refusals_are_counted_against(
    ledger: Ledger, rollouts: Rollouts
) -> None:
    stage = started(rollouts, None, 100, 0.5)
    publish(ledger, DEVICES)
    outcomes = ["taken" if n % 4 == 0 else Reason.SELF_TEST_FAILED for n in range(20)]
    reports = [
        rollouts.report(d, "bundle", 2, outcome) for d, outcome in zip(DEVICES[:20], outcomes, strict=True)
    ]
    assert stage.rollout in reports, "fifteen of twenty, though forty were released"
    assert share_at_least(3, 3) == pytest.approx(0.4385, abs=1e-4)
    assert share_at_least(3, 1000) < 0.01 < share_at_least(20, 1000)


def test_strangers_neither_stop_a_push_nor_hide_a_bad_one(
    database: Database, ledger: Ledger, rollouts: Rollouts
) -> None:
    """Whoever unpacks the app may enrol, and report what it likes."""
    registry = Registry(database)
    stage = started(rollouts, None, 100, 0.01)
    published = ledger.add_releases(made(ledger.wanted(DEVICES))).published
    for device in DEVICES[:20]:
        assert rollouts.report(device, "bundle", 2, Reason.SELF_TEST_FAILED) is None, "it fetched nothing"
    strangers = [f"s{n:02}" for n in range(5)]
    for device in strangers:
        registry.enrol(device, "hash", "bundle")
        ledger.add_context(device, [1])
    publish(ledger, strangers)
    late = started(rollouts, strangers, 100, 0.01)
    with database.writing() as connection:  # as if they had come after it
        connection.execute(update(Device).where(Device.id.in_(strangers)).values(enrolled_at=2 * time.time()))
    publish(ledger, strangers)
    for device in strangers:
        assert rollouts.report(device, "bundle", 2, Reason.SELF_TEST_FAILED) is None
    assert rollouts.status(late.rollout)["state"] == "done"
    fetched(ledger, published)
    stopped = [rollouts.report(device, "bundle", 2, Reason.SELF_TEST_FAILED) for device in DEVICES[:3]]
    assert stage.rollout in stopped


def test_a_push_asks_for_some_devices_at_a_time(
    ledger: Ledger, rollouts: Rollouts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mnet.toolchain.cloud.scope.AT_ONCE", 7)
    monkeypatch.setattr("mnet.toolchain.cloud.ledger._AT_ONCE", 7)
    stage = started(rollouts, None, 100, 0)
    assert stage.versions == dict.fromkeys(DEVICES, 2)
    publish(ledger, DEVICES)
    assert rolled_back(rollouts, stage.rollout).versions == dict.fromkeys(DEVICES, 3)
    publish(ledger, DEVICES)
    ledger.forget(contexts_before=float("inf"), releases_before=0)
    with pytest.raises(LookupError, match="no context"):
        started(rollouts, ["d00"], 100, 0)


def test_a_report_and_an_erasure_never_wait_in_a_circle(
    database: Database, ledger: Ledger, rollouts: Rollouts
) -> None:
    registry, failures = Registry(database), list[BaseException]()
    stage = started(rollouts, None, 100, 0)
    publish(ledger, DEVICES)

    def each(work: Callable[[str], object]) -> None:
        try:
            for device in DEVICES:
                work(device)
        except BaseException as error:
            failures.append(error)

    def report(device: str) -> object:
        return rollouts.report(device, "bundle", 2, Reason.SELF_TEST_FAILED)

    threads = [
        threading.Thread(target=each, args=(work,))
        for work in (report, lambda device: registry.erase(device, "operator"), report)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert rolled_back(rollouts, stage.rollout).versions == {}
