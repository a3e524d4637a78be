"""Devices that are held out of a roll-out, and what apps measured on them and on the rest."""

import json
import random
from pathlib import Path

import httpx
import pytest

from mnet.export.format.bundle import Bundle
from mnet.export.format.errors import Reason
from mnet.toolchain.cloud.comparison import Comparisons
from mnet.toolchain.cloud.database import Database
from mnet.toolchain.cloud.experiment import Experiment, held_out
from mnet.toolchain.cloud.ledger import Ledger
from mnet.toolchain.cloud.measurements import Measurements
from mnet.toolchain.cloud.registry import Registry
from mnet.toolchain.cloud.rollouts import Rollouts
from mnet.toolchain.cloud.scope import SharedPack
from mnet.toolchain.contract.measurement import LARGEST, METRICS, Totals
from mnet.toolchain.fleet.processes import ServerProcess
from tests.cloud.callers import Caller, Device, enrol, eventually
from tests.cloud.driven import extended, on_version_one, publish, rolled_back, settled, started
from tests.mnet_command import Mnet

DEVICES = [f"d{n:03}" for n in range(240)]


@pytest.fixture
def ledger(database: Database) -> Ledger:
    """Phones on their version 1."""
    return on_version_one(database, DEVICES)


def measure(database: Database, device: str, version: int, value: float, metric: str = "clicked") -> None:
    totals = {(version, metric): Totals().with_value(value).with_value(value)}
    Measurements(database).keep(device, "bundle", totals)


@pytest.mark.parametrize("held_on", ["previous", "default"])
def test_a_share_gets_what_it_had_as_a_version_of_its_own(
    ledger: Ledger, rollouts: Rollouts, held_on: str
) -> None:
    experiment = Experiment(30, held_on)  # type: ignore[arg-type]
    first = started(rollouts, None, 50, 0.01, experiment=experiment)
    last = extended(rollouts, first.rollout, 100)
    assert sorted([*first.versions, *last.versions]) == DEVICES, "held out or not, each gets a version"
    held = held_out(first.rollout, 30, DEVICES)
    assert 40 < len(held) < 110
    assert 0 < len(set(held) & set(first.versions)) < len(held), "whoever is held out is so at any stage"
    wanted = {each.device: each for each in ledger.wanted(DEVICES)}
    assert {device for device in DEVICES if wanted[device].held_out is not None} == set(held)
    for device in held:
        had = f"{device}-1" if held_on == "previous" else None
        assert (wanted[device].restores is not None, wanted[device].sha256) == (True, had)
    publish(ledger, DEVICES)
    status = rollouts.status(first.rollout)
    assert (status["held_out"], status["released"]) == (len(held), len(DEVICES) - len(held))
    back = set(rolled_back(rollouts, first.rollout).versions)
    assert back == (set(DEVICES) - set(held) if held_on == "previous" else set(DEVICES))


def test_newcomers_are_held_out_too(database: Database, ledger: Ledger, rollouts: Rollouts) -> None:
    pushed = rollouts.start(None, 100, 0.01, pack=SharedPack("ab", "bundle"), experiment=Experiment(30))
    settled(rollouts, pushed)
    publish(ledger, DEVICES)
    new = [f"new{n:02}" for n in range(60)]
    for device in new:
        Registry(database).enrol(device, "hash", "bundle")
    assert sorted(rollouts.reach(new)) == new
    wanted = {each.device: each for each in ledger.wanted(new)}
    held = set(held_out(pushed, 30, new))
    assert 0 < len(held) < len(new)
    for device in new:
        assert wanted[device].pack == (None if device in held else "ab")
    publish(ledger, new)
    assert rollouts.reach(new) == {}, "each once"


def test_a_refused_pack_stops_by_those_that_got_it(ledger: Ledger, rollouts: Rollouts) -> None:
    stage = started(rollouts, None, 100, 0.1, experiment=Experiment(30))
    publish(ledger, DEVICES)
    held = held_out(stage.rollout, 30, DEVICES)
    for device in held:
        rollouts.report(device, "bundle", 2, Reason.SELF_TEST_FAILED)
    assert rollouts.status(stage.rollout)["state"] == "done", "it is not what was pushed that they refuse"


def test_a_total_counts_once_and_only_of_what_was_fetched(
    database: Database, ledger: Ledger, rollouts: Rollouts
) -> None:
    stage = started(rollouts, None, 100, 0.01, experiment=Experiment(50))
    publish(ledger, DEVICES[:200])
    (held,) = held_out(stage.rollout, 50, DEVICES)[:1]
    (treated,) = [device for device in DEVICES if device not in held_out(stage.rollout, 50, DEVICES)][:1]
    measurements, comparisons = Measurements(database), Comparisons(database)
    new, old = Totals(3, 6.0, 14.0), Totals(2, 3.0, 5.0)
    for totals in (new, new, old, new):
        measurements.keep(treated, "bundle", {(2, "clicked"): totals, (7, "clicked"): totals})
    measurements.keep(treated, "other", {(2, "clicked"): new})
    measurements.keep(treated, "bundle", {(1, "clicked"): Totals(9, 0.0, 0.0)})
    measurements.keep("nobody", "bundle", {(2, "clicked"): new})
    measurements.keep(held, "bundle", {(2, "clicked"): old})
    measurements.keep(DEVICES[-1], "bundle", {(2, "clicked"): new})
    (found,) = comparisons.compare(stage.rollout)
    assert (found.metric, found.treated.devices, found.treated.values) == ("clicked", 1, 3)
    assert (found.treated.mean, found.treated.within) == (2.0, 1.0)
    assert (found.held_out.devices, found.held_out.mean) == (1, 1.5)
    assert found.difference is not None
    assert (found.difference.difference, found.difference.interval) == (0.5, None), "two devices say nothing"
    many = {(2, f"m{n}"): new for n in range(2 * METRICS)}
    measurements.keep(treated, "bundle", many)
    assert len(comparisons.compare(stage.rollout)) == METRICS, "an app may invent no more"
    assert Registry(database).erase(treated, "device")
    assert comparisons.compare(stage.rollout, "clicked")[0].treated.devices == 0


def test_it_stops_by_a_metric_that_is_surely_worse(
    database: Database, ledger: Ledger, rollouts: Rollouts
) -> None:
    draw, comparisons = random.Random(0), Comparisons(database)
    good, bad = (
        started(
            rollouts, DEVICES, 100, 0.01, experiment=Experiment(50, "previous", metric, stop_below=-0.05)
        ).rollout
        for metric in ("rating", "clicked")
    )
    publish(ledger, DEVICES)
    held = set(held_out(bad, 50, DEVICES))
    for device in DEVICES:
        measure(database, device, 3, draw.gauss(0.5 if device in held else 0.1, 0.1))
        if device == DEVICES[20]:
            comparisons.stop_worse()
            assert rollouts.status(bad)["state"] == "done", "a few devices are not sure"
    comparisons.stop_worse()
    assert rollouts.status(bad)["state"] == "stopped"
    assert rollouts.status(good)["state"] != "stopped", "nobody measured what it would stop by"
    assert ledger.release_after(next(iter(set(DEVICES) - held)), "bundle", 2) is None, "it is withheld"


def test_devices_enrolled_since_count_for_nothing(
    database: Database, ledger: Ledger, rollouts: Rollouts
) -> None:
    stage = started(rollouts, None, 100, 0.01, experiment=Experiment(50))
    Registry(database).enrol("stranger", "hash", "bundle")
    ledger.add_context("stranger", [1])
    settled(rollouts, stage.rollout)
    publish(ledger, ["stranger"])
    measure(database, "stranger", 1, LARGEST)
    assert all(not each.treated.devices for each in Comparisons(database).compare(stage.rollout))


def test_a_fleet_measures_and_an_operator_compares(
    http: httpx.Client, server: ServerProcess, bundle: Bundle, tmp_path: Path, mnet: Mnet
) -> None:
    # So many that both groups have four, all but surely: of each end three values count as the next one.
    devices = [enrol(http, server, bundle) for _ in range(32)]
    versions = {device.id: device.upload([1, 2, 3]) for device in devices}
    (tmp_path / "ids.txt").write_text("\n".join(versions))
    for device in devices:
        device.release(bundle.id)
    place = "--server", server.url, "--operator-key", server.operator_key
    pushed = "push", "--devices", tmp_path / "ids.txt", "--hold-out", 50, "--yes", "--json", *place
    code, out, _ = mnet(*pushed, "--stop-below", "clicked:-0.5")
    assert code == 0
    rollout = json.loads(out)["rollout"]
    held = set(held_out(rollout, 50, versions))
    for device in devices:
        release = device.release(bundle.id, after=versions[device.id])
        assert device.get(f"/packs/{release.sha256}").status_code == 200
        value = 2.0 if device.id in held else 3.0
        assert measured(device, bundle, release.version, 4, 4 * value, 4 * value**2).status_code == 204
    compare = "ab", rollout, "--json", *place
    (found,) = eventually(
        lambda: json.loads(mnet(*compare)[1]),
        lambda rows: sum(rows[0][group]["devices"] for group in ("treated", "held_out")) == len(devices),
    )
    assert (found["treated"]["mean"], found["held_out"]["mean"]) == (3.0, 2.0)
    assert found["difference"] == {"difference": 1.0, "interval": None}
    code, out, _ = mnet(*compare[:2], "--metric", "clicked", *place)
    groups = f"{len(devices) - len(held)} and {len(held)}"
    assert (code, "too few phones" in out, groups in out) == (0, True, True)


def measured(
    device: Device, bundle: Bundle, version: int, count: object, total: object, squares: object
) -> httpx.Response:
    row = {"version": version, "metric": "clicked", "count": count, "sum": total, "squares": squares}
    return device.put(f"/devices/{device.id}/measurements", {"bundle": bundle.id, "totals": [row]})


@pytest.mark.parametrize(
    "totals", [(0, 0, 0), (1, 2, 1), (1, 9e9, 9e18), (2.5, 1, 1), (True, 1, 1), (1, "1", "1"), (10**12, 1, 1)]
)
def test_totals_that_cannot_be_are_refused(
    device: Device, bundle: Bundle, totals: tuple[object, object, object]
) -> None:
    assert measured(device, bundle, 1, *totals).status_code == 422


def test_a_push_that_cannot_be_compared_is_refused(operator: Caller, device: Device) -> None:
    device.upload([1])
    for wrong in (
        {"metric": "clicked", "hold_out": 10},
        {"stop_below": -1, "hold_out": 10},
        {"metric": "clicked", "stop_below": -1},
        {"metric": "clicked", "stop_below": 0, "hold_out": 10},
        {"metric": "Clicked", "stop_below": -1, "hold_out": 10},
        {"hold_out": 100},
        {"held_on": "another"},
    ):
        assert operator.post("/push", {"devices": [device.id], **wrong}).status_code == 422
    assert operator.get("/rollouts/999999/comparison").status_code == 404
