"""Operators by name: keys of their own, whose deed it was, and pushes that a second one has to approve."""

import threading
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient

from mnet.export.format.bundle import Bundle
from mnet.toolchain.cloud.app import create_app
from mnet.toolchain.cloud.approval import AWAITS_APPROVAL
from mnet.toolchain.cloud.audit import Audit
from mnet.toolchain.cloud.database import Database
from mnet.toolchain.cloud.ledger import Ledger
from mnet.toolchain.cloud.operators import BOOTSTRAP, Operators
from mnet.toolchain.cloud.page_session import LIFETIME_S, opened, whose
from mnet.toolchain.cloud.registry import Registry
from mnet.toolchain.cloud.rollouts import Conflict, Rollouts
from mnet.toolchain.cloud.scope import SharedPack
from mnet.toolchain.cloud.server import build_service
from mnet.toolchain.cloud.settings import Settings
from mnet.toolchain.cloud.state import ServerState
from mnet.toolchain.fleet.processes import ServerProcess
from tests.cloud.callers import Caller, Device, enrol
from tests.cloud.driven import settled
from tests.mnet_command import Mnet

DEVICES = [f"d{number:02}" for number in range(40)]


@pytest.fixture
def careful(database: Database) -> Rollouts:
    """Forty phones, more than a quarter of which two operators push to."""
    registry, ledger = Registry(database), Ledger(database)
    for device in DEVICES:
        registry.enrol(device, "hash", "bundle")
        ledger.add_context(device, [1])
    with database.writing() as connection:
        connection.exec_driver_sql("UPDATE devices SET pending = false")
    return Rollouts(database, second_approval=25.0)


def test_a_large_push_waits_for_a_second_operator(careful: Rollouts, database: Database) -> None:
    rollout = careful.start(None, 100, 0, by="ana")
    assert settled(careful, rollout).versions == {}
    status = careful.status(rollout)
    assert (status["state"], status["proposed"], status["proposed_by"]) == (AWAITS_APPROVAL, 100, "ana")
    with pytest.raises(Conflict, match="a second operator"):
        careful.approve(rollout, "ana")
    with pytest.raises(Conflict, match="approve or stop it first"):
        careful.extend(rollout, 5, "ana")
    assert settled(careful, rollout).versions == {}
    assert careful.awaits_approval(rollout)
    careful.approve(rollout, "ben")
    assert not careful.awaits_approval(rollout)
    assert sorted(settled(careful, rollout).versions) == DEVICES
    assert careful.status(rollout)["proposed"] is None
    with pytest.raises(Conflict, match="nobody's approval"):
        careful.approve(rollout, "carla")
    entries = [(entry["operator"], entry["action"]) for entry in Audit(database).newest(2)]
    assert entries == [("ben", "approved"), ("ana", "proposed")]


def test_what_is_small_waits_for_nobody_until_it_grows(careful: Rollouts) -> None:
    rollout = careful.start(None, 20, 0, by="ana")
    first = settled(careful, rollout).versions
    assert 0 < len(first) < len(DEVICES)
    careful.extend(rollout, 90, "ana")
    assert settled(careful, rollout).versions == {}
    assert careful.status(rollout)["percent"] == 20
    careful.approve(rollout, "ben")
    assert settled(careful, rollout).versions


def test_it_is_the_share_of_the_fleet_that_counts(careful: Rollouts) -> None:
    few = careful.start(DEVICES[:5], 100, 0, by="ana")
    assert careful.status(few)["proposed"] is None
    many = careful.start(DEVICES[:11], 100, 0, by="ana")
    assert careful.status(many)["proposed"] == 100


def test_a_push_that_is_turned_down_is_over(careful: Rollouts) -> None:
    rollout = careful.start(None, 100, 0, by="ana")
    careful.stop(rollout, "ben")
    with pytest.raises(Conflict):
        careful.approve(rollout, "carla")
    assert settled(careful, rollout).versions == {}


def test_a_pack_gets_its_version_when_it_is_approved(careful: Rollouts, database: Database) -> None:
    """Phones that uploaded meanwhile are beyond the version of the day of the proposal."""
    rollout = careful.start(None, 100, 0, pack=SharedPack("0" * 64, "bundle"), by="ana")
    for _ in range(3):
        Ledger(database).add_context("d00", [2])
    with database.writing() as connection:
        connection.exec_driver_sql("UPDATE devices SET pending = false")
    careful.approve(rollout, "ben")
    assert set(settled(careful, rollout).versions.values()) == {5}


def test_two_who_approve_at_once_approve_once(careful: Rollouts, database: Database) -> None:
    rollout, refused = careful.start(None, 100, 0, by="ana"), list[str]()

    def approve(name: str) -> None:
        try:
            careful.approve(rollout, name)
        except Conflict as error:
            refused.append(str(error))

    threads = [threading.Thread(target=approve, args=(name,)) for name in ("ben", "carla")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 1
    assert Audit(database).check().faults == []


def test_keys_are_kept_hashed_and_end_with_their_operator(database: Database) -> None:
    operators = Operators(database)
    key = operators.add("ana", BOOTSTRAP)
    assert operators.holder(key) == "ana"
    assert operators.holder(key[:-1]) is None
    with database.reading() as connection:
        rows = connection.exec_driver_sql("SELECT * FROM operators").all()
        logged = connection.exec_driver_sql("SELECT * FROM audit").all()
    assert key not in str(rows) + str(logged)
    for taken in ("ana", BOOTSTRAP):
        with pytest.raises(ValueError, match="already"):
            operators.add(taken)
    assert operators.remove("ana", BOOTSTRAP)
    assert not operators.remove("ana")
    assert operators.holder(key) is None


def test_a_session_of_the_page_is_of_one_operator_and_ends() -> None:
    hashes = {"ana": "1", BOOTSTRAP: ""}
    assert whose(opened("key", "ana", "1"), "key", hashes.get) == "ana"
    assert whose(opened("key", "a.b", "2"), "key", {"a.b": "2"}.get) == "a.b"
    for cookie in (
        None,
        "",
        ".",
        "9" * 20,
        "\xe9.\xe9",
        opened("key", "ana", "1")[:-1],
        opened("other", "ana", "1"),
        opened("key", "ana", "another key of hers"),
        opened("key", "ben", "1"),
        opened("key", "ana", "1", now=-LIFETIME_S),
        opened("key", "ana", "1").replace("ana", BOOTSTRAP),
    ):
        assert whose(cookie, "key", hashes.get) is None, cookie


def test_every_deed_of_an_operator_has_a_name(
    http: httpx.Client, server: ServerProcess, bundle: Bundle, operator: Caller, mnet: Mnet, tmp_path: Path
) -> None:
    device, gone = enrol(http, server, bundle), enrol(http, server, bundle)
    device.upload([1, 2])
    device.release(bundle.id)
    by_folder = ("--server", server.url, "--operator-key", server.operator_key)
    code, stdout, stderr = mnet("operator", "add", "ana", *by_folder)
    assert code == 0, stderr
    key = tmp_path / "ana.key"
    key.write_text(stdout)
    ana, by_ana = Caller(http, stdout.strip()), ("--server", server.url, "--operator-key", key)
    before = operator.get("/audit", limit=1).json()[0]["id"]
    code, stdout, stderr = mnet("push", "--device", device.id, "--yes", *by_ana)
    assert (code, "awaits" in stdout) == (0, False), stderr
    rollout = operator.get("/audit", limit=1).json()[0]["detail"]["rollout"]
    answer = ana.post(f"/rollouts/{rollout}", {"percent": 100})
    assert (answer.status_code, answer.json()) == (202, {"rollout": rollout, "awaits_approval": False})
    assert ana.post(f"/rollouts/{rollout}/approve", {}).status_code == 409
    assert ana.post(f"/rollouts/{rollout}/stop", {}).status_code == 202
    assert ana.post(f"/rollouts/{rollout}/rollback", {}).status_code == 202
    assert ana.put("/cohorts/de", {"devices": [gone.id]}).status_code == 200
    assert ana.delete(f"/devices/{gone.id}/token").status_code == 204
    assert ana.delete(f"/devices/{gone.id}").status_code == 204
    mine = [e for e in operator.get("/audit").json() if e["id"] > before and e["actor"] == "operator"]
    assert [entry["action"] for entry in reversed(mine)] == [
        "pushed",
        "extended",
        "stopped",
        "rolled back",
        "joined",
        "revoked",
        "erased",
    ]
    assert {entry["operator"] for entry in mine} == {"ana"}
    for answer in (ana.post("/operators", {"name": "eve"}), ana.delete("/operators/ana")):
        assert answer.status_code == 403, "or one person could be two operators"
    code, _, stderr = mnet("approve", rollout, "--yes", *by_ana)
    assert (code, "nobody's approval" in stderr) == (2, True)
    assert "ana" in mnet("operator", "list", *by_ana)[1]
    assert "ana" in mnet("history", *by_ana)[1]
    code, stdout, stderr = mnet("audit", *by_ana)
    assert (code, "no faults" in stdout) == (0, True), stderr
    code, stdout, _ = mnet("audit", "--noted", "0" * 64, *by_ana)
    assert (code, "noted before" in stdout) == (1, True)
    with httpx.Client(base_url=server.url) as browser:
        assert browser.post("/session", data={"key": key.read_text().strip()}).status_code == 303
        assert "ana, 2" in browser.get("/").text
        assert mnet("operator", "remove", "ana", *by_folder)[0] == 0
        assert "ana, 2" not in browser.get("/").text
    assert ana.get("/fleet").status_code == 401


def test_a_device_is_no_operator(device: Device) -> None:
    assert device.get("/operators").status_code == 401
    assert device.post("/operators", {"name": "eve"}).status_code == 401


def test_the_answer_to_a_push_says_that_it_waits(tmp_path: Path) -> None:
    state = ServerState.open(tmp_path / "server")
    service = build_service(Settings((), (), state, second_approval=25), {})
    service.registry.enrol("d00", "hash", "bundle")
    service.ledger.add_context("d00", [1])
    with TestClient(create_app(service)) as http:
        ana, ben = (
            {"Authorization": f"Bearer {service.operators.add(name, BOOTSTRAP)}"} for name in ("ana", "ben")
        )
        assert http.post("/v1/push", json={}, headers=ana).json() == {"rollout": 1, "awaits_approval": True}
        approved = http.post("/v1/rollouts/1/approve", json={}, headers=ben)
        assert approved.json() == {"rollout": 1, "awaits_approval": False}
