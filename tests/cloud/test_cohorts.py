"""Packs that are pushed as they are: one for many devices, to everyone or to a cohort, stored once."""

from collections.abc import Sequence

import pytest

from mnet.export.format.errors import Reason
from mnet.toolchain.cloud.database import Database
from mnet.toolchain.cloud.fleet import look
from mnet.toolchain.cloud.ledger import Issued, Ledger, Wanted
from mnet.toolchain.cloud.pack_store import SHARED
from mnet.toolchain.cloud.registry import Registry
from mnet.toolchain.cloud.rollouts import Reach, Rollouts
from mnet.toolchain.cloud.scope import SharedPack
from mnet.toolchain.contract.release import Release
from tests.cloud.driven import fetched, rolled_back, started

NOW = 1_700_000_000
EVER = float("inf")
PACK = SharedPack("pushed", "bundle")


@pytest.fixture
def registry(database: Database) -> Registry:
    """`a` has personal weights of version 3, `b` none, `c` runs another bundle, `d` both."""
    registry = Registry(database)
    for device, bundle, cohort in (
        ("a", "bundle", "de"),
        ("b", "bundle", None),
        ("c", "other", "de"),
        ("d", "bundle", None),
    ):
        registry.enrol(device, "hash", bundle, cohort=cohort)
    registry.install("d", ["bundle", "other"])
    ledger = Ledger(database)
    for _ in range(3):
        ledger.add_context("a", [1])
        publish(ledger, ["a"])
    return registry


@pytest.fixture
def ledger(database: Database, registry: Registry) -> Ledger:
    return Ledger(database)


def weights(wanted: Wanted) -> str:
    """Which weights the publisher would give."""
    if wanted.pack is not None:
        return wanted.pack
    if wanted.restores is not None:
        return wanted.sha256 or "default"
    return f"{wanted.device}-{wanted.version}"


def publish(ledger: Ledger, devices: Sequence[str]) -> dict[tuple[str, str], tuple[int, str]]:
    """Release what these devices wait for; version and weights by device and bundle."""
    wanted = ledger.wanted(devices)
    added = ledger.add_releases(
        [
            Issued(
                Release(each.device, each.bundle, each.version, weights(each), 1, NOW, NOW + 60),
                f"{each.device} v{each.version} {weights(each)}",
                each.rollout,
                weights(each) in ("default", "pushed", "newer"),
            )
            for each in wanted
        ]
    )
    fetched(ledger, added.published)
    return {(each.device, each.bundle): (each.version, weights(each)) for each in wanted}


def test_a_pack_reaches_all_that_run_its_bundle_as_one_version(ledger: Ledger, rollouts: Rollouts) -> None:
    stage = started(rollouts, None, 100, 0, pack=PACK)
    assert stage.versions == {"a": 4, "b": 4, "d": 4}, "one version above that of every device"
    assert sorted(ledger.unreleased(["bundle"], EVER)) == ["a", "b", "d"]
    assert publish(ledger, [*"abcd"]) == {
        ("a", "bundle"): (4, "pushed"),
        ("b", "bundle"): (4, "pushed"),
        ("d", "bundle"): (4, "pushed"),
        ("d", "other"): (4, "default"),
    }
    assert ledger.unreleased(["bundle", "other"], EVER) == []
    assert {ledger.pack_owner(device, "pushed") for device in "abd"} == {SHARED}
    assert (ledger.pack_owner("a", "a-3"), ledger.pack_owner("c", "pushed")) == ("a", None)
    assert ledger.named([(SHARED, "pushed"), (SHARED, "never"), ("a", "a-3")]) == {
        (SHARED, "pushed"),
        ("a", "a-3"),
    }
    assert rollouts.status(stage.rollout)["released"] == 3


def test_a_device_that_uploads_later_gets_its_own_weights(ledger: Ledger, rollouts: Rollouts) -> None:
    started(rollouts, None, 100, 0, pack=PACK)
    publish(ledger, [*"abd"])
    assert ledger.add_context("b", [2]) == 5
    assert publish(ledger, ["b"]) == {("b", "bundle"): (5, "b-5")}
    assert rollouts.reach(["b"]) == {}, "nor is it given the cohort's again"


def test_a_cohort_gets_its_own_pack_and_so_does_who_joins_it(
    registry: Registry, ledger: Ledger, rollouts: Rollouts
) -> None:
    first = started(rollouts, None, 100, 0, cohort="de", pack=PACK)
    assert first.versions == {"a": 4}
    publish(ledger, ["a"])
    registry.join("de", ["b"])
    assert registry.cohorts() == {"de": 3}
    assert rollouts.reach(["b"]) == {"b": 4}
    assert rollouts.reach(["b"]) == {}, "it waits for it already"
    assert publish(ledger, ["b"]) == {("b", "bundle"): (4, "pushed")}
    assert rollouts.reach(["a", "b", "d"]) == {}
    registry.enrol("new", "hash", "bundle", cohort="de")
    started(rollouts, ["d"], 100, 0, pack=SharedPack("newer", "bundle"))
    assert rollouts.reach(["new"]) == {"new": 4}, "a list is of those on it alone"
    with pytest.raises(LookupError, match="there is no device nobody"):
        registry.join("fr", ["d", "nobody"])
    assert registry.cohorts() == {"de": 4}


def test_the_newest_pack_counts_and_a_stopped_one_does_not(
    registry: Registry, ledger: Ledger, rollouts: Rollouts
) -> None:
    old = started(rollouts, None, 100, 0, pack=PACK)
    new = started(rollouts, None, 100, 0, pack=SharedPack("newer", "bundle"))
    assert new.versions == {"a": 5, "b": 5, "d": 5}
    assert publish(ledger, ["a"]) == {("a", "bundle"): (5, "newer")}
    rolled_back(rollouts, new.rollout)
    assert publish(ledger, ["a"]) == {("a", "bundle"): (6, "a-3")}, (
        "what it had before, for what was between never was"
    )
    registry.enrol("late", "hash", "bundle")
    assert rollouts.reach(["late"]) == {"late": 4}
    assert publish(ledger, ["late"]) == {("late", "bundle"): (4, "pushed")}
    assert ledger.named([(SHARED, "pushed"), (SHARED, "newer")]) == {(SHARED, "pushed"), (SHARED, "newer")}
    assert rollouts.status(old.rollout)["state"] == "done"


def test_what_a_push_would_reach_and_the_fleet_at_a_glance(
    database: Database, ledger: Ledger, rollouts: Rollouts
) -> None:
    assert rollouts.reach_of(None, cohort=None, bundle="bundle") == Reach(3, {"bundle": 3})
    assert rollouts.reach_of(None, cohort="de", bundle="bundle") == Reach(1, {"bundle": 1})
    assert rollouts.reach_of(None, cohort=None, bundle=None) == Reach(1, {"bundle": 1}), (
        "who has sent a context"
    )
    assert rollouts.reach_of(["a"], cohort=None, bundle=None) == Reach(1, {"bundle": 1})
    with pytest.raises(LookupError, match="no context was ever uploaded by c"):
        rollouts.reach_of(["a", "c"], cohort=None, bundle=None)
    stage = started(rollouts, None, 100, 0, pack=PACK)
    publish(ledger, ["a", "b"])
    rollouts.report("a", "bundle", 4, "taken")
    view = look(database, rollouts)
    assert (view.devices, view.waiting, view.failing, view.contexts, view.uploads) == (4, 1, 0, 1, 1)
    assert sorted((each["version"], each["devices"], each["outcome"]) for each in view.versions) == [
        (4, 1, "not reported"),
        (4, 1, "taken"),
    ]
    assert view.stale == 1, "long ago by its release, and not taken"
    assert [each["id"] for each in view.rollouts] == [stage.rollout]


def test_only_devices_that_run_the_bundle_can_be_listed(rollouts: Rollouts) -> None:
    with pytest.raises(LookupError, match="the pack's bundle is not run by c, nobody"):
        started(rollouts, ["a", "c", "nobody"], 100, 0, pack=PACK)


def test_a_bad_pack_stops_by_itself(registry: Registry, ledger: Ledger, rollouts: Rollouts) -> None:
    devices = [f"n{n:02}" for n in range(40)]
    for device in devices:
        registry.enrol(device, "hash", "bundle")
    stage = started(rollouts, None, 50, 0.01, pack=PACK)
    reached = sorted(publish(ledger, list(stage.versions)))
    stopped = [
        rollouts.report(device, bundle, 4, Reason.SELF_TEST_FAILED)
        for device, bundle in reached[:3]
        if bundle == "bundle"
    ]
    assert stopped == [None, None, stage.rollout]
    assert ledger.release_after(reached[4][0], "bundle", 3) is None, "it is withheld"
    assert rollouts.reach(devices) == {}
    assert ledger.unreleased(["bundle"], EVER) == []


def test_a_waiting_push_outlives_the_context_that_is_forgotten(ledger: Ledger, rollouts: Rollouts) -> None:
    started(rollouts, None, 100, 0, pack=PACK)
    ledger.forget(contexts_before=NOW * 2, releases_before=0)
    assert publish(ledger, ["a"]) == {("a", "bundle"): (4, "pushed")}
