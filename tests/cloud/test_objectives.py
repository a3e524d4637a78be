"""What metrics say of the whole fleet, counted in both kinds of database."""

import time

from sqlalchemy import update

from mnet.toolchain.cloud.database import Database
from mnet.toolchain.cloud.fleet import objectives
from mnet.toolchain.cloud.metrics import Metrics
from mnet.toolchain.cloud.registry import Registry
from mnet.toolchain.cloud.rollouts import TAKEN, Rollouts
from mnet.toolchain.cloud.tables import Device, IssuedRelease
from tests.cloud.driven import made, on_version_one

DAY_S = 24 * 3600


def test_stale_undelivered_expired_and_waiting_devices_are_counted(database: Database) -> None:
    devices = [f"d{n}" for n in range(6)]
    ledger = on_version_one(database, devices)  # all have fetched, from a time long ago
    Registry(database).enrol("new", "hash", "bundle")
    rollouts, now = Rollouts(database), time.time()
    rollouts.report("d0", "bundle", 1, TAKEN)
    rollouts.report("d1", "bundle", 1, "self_test_failed")
    of = IssuedRelease
    with database.writing() as connection:
        in_date = update(of).values(issued_at=int(now), expires_at=int(now + DAY_S))
        connection.execute(in_date.where(of.device.in_(["d2", "d3", "d4"])))
        connection.execute(update(of).where(of.device.in_(["d3", "d4", "d5"])).values(fetched=False))
        connection.execute(update(of).where(of.device == "d4").values(issued_at=int(now - 2 * 3600)))
    ledger.add_context("d2", [2])
    ledger.recovery.failed(["d2"], 1)
    ledger.add_context("d0", [2])
    with database.writing() as connection:
        connection.execute(update(Device).where(Device.id == "d0").values(wanted_at=now - 100))
    figures, states = objectives(database)
    waited = figures.pop("oldest_wait_seconds")
    assert (
        figures
        == {
            "devices": 7,
            "failing_devices": 1,
            "stale_devices": 2,  # d1 refused it, d5 never fetched; d0 and d2 are owed another, and d3 and d4 have a day
            "undelivered_releases": 2,  # d4, d5
            "expired_releases": 1,  # d5
        }
    )
    assert 100 <= waited < 130
    assert states == {"running": 0, "stopped": 0, "rolling back": 0, "rolled back": 0}
    rollout = rollouts.start(None, 100, 0.01)
    rollouts.stop(rollout)
    rollouts.start(None, 100, 0.01)
    assert objectives(database)[1] == {"running": 1, "stopped": 1, "rolling back": 0, "rolled back": 0}
    metrics = Metrics()
    metrics.counted(*objectives(database))
    assert "mnet_devices 7.0" in metrics.text().decode()
    assert 'mnet_rollouts{state="stopped"} 1.0' in metrics.text().decode()


def test_the_wait_for_an_upload_is_known_once_and_for_nothing_else(database: Database) -> None:
    ledger = on_version_one(database, ["uploads", "is pushed to"])
    rollouts = Rollouts(database)
    assert ledger.waited("uploads", "bundle", 1) is not None
    rollouts.report("uploads", "bundle", 1, TAKEN)
    assert ledger.waited("uploads", "bundle", 1) is None, "it has said so before"
    ledger.add_context("uploads", [2])
    assert ledger.waited("uploads", "bundle", 1) is None, "its time is that of a later upload"
    rollouts.start(["is pushed to"], 100, 0.01)
    while rollouts.advance():
        pass
    ledger.add_releases(made(ledger.wanted(["is pushed to"])))
    assert ledger.waited("is pushed to", "bundle", 2) is None
