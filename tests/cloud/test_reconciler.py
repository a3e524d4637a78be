"""A push is what is wanted; the service brings the fleet there, whoever dies on the way."""

import time
from pathlib import Path

import httpx
from sqlalchemy import insert

from mnet.export.format.bundle import Bundle
from mnet.toolchain.cloud.database import Database
from mnet.toolchain.cloud.ledger import Ledger
from mnet.toolchain.cloud.registry import Registry
from mnet.toolchain.cloud.rollouts import Rollouts
from mnet.toolchain.cloud.scope import AT_ONCE
from mnet.toolchain.cloud.tables import Context, Device, Installation
from mnet.toolchain.fleet.processes import ServerProcess
from tests.cloud.callers import enrol, eventually, operator
from tests.cloud.driven import settled

COUNT = 3 * AT_ONCE


def crowd(database: Database, bundle: str, count: int = COUNT) -> list[str]:
    """Devices that have uploaded once, and wait for nothing."""
    devices, now = [f"c{n:06}" for n in range(count)], time.time()
    with database.writing() as connection:
        connection.execute(
            insert(Device), [{"id": each, "token_sha256": None, "bundle": bundle} for each in devices]
        )
        connection.execute(insert(Installation), [{"device": each, "bundle": bundle} for each in devices])
        connection.execute(
            insert(Context), [{"device": each, "samples": [1, 2], "uploaded_at": now} for each in devices]
        )
    return devices


def test_a_push_that_was_interrupted_is_resumed_by_anyone(database: Database) -> None:
    devices = crowd(database, "bundle")
    first = Rollouts(database)
    rollout = first.start(None, 100, 0)
    (stage,) = first.advance()
    assert 0 < len(stage.versions) <= AT_ONCE, "some, and then the server is killed"
    assert first.status(rollout)["state"] == "running"
    other = Rollouts(database)
    rest = settled(other, rollout).versions
    assert sorted([*stage.versions, *rest]) == devices
    status = other.status(rollout)
    assert (status["state"], status["reached"], status["waiting"]) == ("running", COUNT, COUNT)


def test_a_share_that_grows_amid_its_stage_reaches_everyone_once(database: Database) -> None:
    devices = crowd(database, "bundle")
    rollouts = Rollouts(database)
    rollout = rollouts.start(None, 40, 0)
    (stage,) = rollouts.advance()
    rollouts.extend(rollout, 100)
    rest = settled(rollouts, rollout).versions
    assert sorted([*stage.versions, *rest]) == devices
    assert set((stage.versions | rest).values()) == {1}, "nobody twice"


def test_an_older_push_never_overtakes_a_newer_one(database: Database) -> None:
    devices = crowd(database, "bundle")
    rollouts = Rollouts(database)
    old = rollouts.start(None, 100, 0)
    rollouts.advance()
    new = rollouts.start(None, 100, 0)
    settled(rollouts, new)
    wanted = {each.rollout for each in Ledger(database).wanted(devices)}
    assert wanted == {new}
    assert rollouts.status(old)["waiting"] == 0


def test_a_roll_back_that_was_interrupted_is_resumed(database: Database) -> None:
    registry, rollouts = Registry(database), Rollouts(database)
    registry.enrol("phone", "hash", "bundle")
    rollout = rollouts.start(None, 100, 0)
    settled(rollouts, rollout)
    assert rollouts.status(rollout)["state"] == "done", "with nobody to reach"
    assert rollouts.roll_back(rollout)
    assert Rollouts(database).status(rollout)["state"] == "rolling back"
    settled(Rollouts(database), rollout)
    assert rollouts.status(rollout)["state"] == "rolled back"
    assert not rollouts.roll_back(rollout), "nothing is left to do"


def test_a_server_killed_amid_a_push_is_followed_by_one_that_ends_it(
    tiny_run: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    bundle = Bundle.load(tiny_bundle)
    with (
        ServerProcess(tiny_run, tiny_bundle, tmp_path / "server") as first,
        httpx.Client(base_url=f"{first.url}/v1", timeout=30) as http,
    ):
        enrol(http, first, bundle)
        database = Database(f"sqlite:///{tmp_path / 'server' / 'mnet.db'}")
        crowd(database, bundle.id)
        answer = operator(http, first).post("/push", {})
        short = {"rollout": 1, "awaits_approval": False}
        assert answer.json() == short, "a number, and no list of anybody"
        first.kill()
    rollouts = Rollouts(database)
    assert rollouts.status(1)["released"] < COUNT
    with ServerProcess(tiny_run, tiny_bundle, tmp_path / "server"):
        status = eventually(lambda: rollouts.status(1), lambda found: found["state"] == "done", 120)
    database.close()
    assert (status["reached"], status["released"]) == (COUNT, COUNT)
