"""The maintenance thread: nothing that fails ends it, and it hands on what its devices may have."""

import asyncio
import inspect
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import func, select

from mnet.toolchain.cli import serve
from mnet.toolchain.cloud import maintenance as module
from mnet.toolchain.cloud.app import create_app
from mnet.toolchain.cloud.database import Database
from mnet.toolchain.cloud.health import Health
from mnet.toolchain.cloud.ledger import Issued, Ledger
from mnet.toolchain.cloud.long_polls import LongPolls
from mnet.toolchain.cloud.maintenance import Maintenance
from mnet.toolchain.cloud.metrics import Metrics
from mnet.toolchain.cloud.pack_store import PackStore
from mnet.toolchain.cloud.registry import Registry
from mnet.toolchain.cloud.rollouts import Rollouts
from mnet.toolchain.cloud.server import Reload
from mnet.toolchain.cloud.service import Service
from mnet.toolchain.cloud.settings import Limits, Settings
from mnet.toolchain.cloud.state import ServerState
from mnet.toolchain.cloud.tables import Context
from mnet.toolchain.contract.release import Release
from mnet.toolchain.object_store import StoreAway
from tests.cloud.driven import fetched, started


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(f"sqlite:///{tmp_path / 'mnet.db'}")
    yield opened
    opened.close()


def made(database: Database, folder: Path, retain_days: float | None = None) -> Maintenance:
    publisher: Any = SimpleNamespace(take_up=lambda before: None)
    packs = PackStore(str(folder / "packs"))
    return Maintenance(
        Ledger(database), packs, publisher, LongPolls(), retain_days, Metrics(), database.scrub
    )


def released(ledger: Ledger, device: str) -> None:
    added = ledger.add_releases(
        [
            Issued(Release(device, w.bundle, w.version, "0" * 64, 1, 0, 2**40), f"jws-{w.version}", w.rollout)
            for w in ledger.wanted([device])
        ]
    )
    fetched(ledger, added.published)


def test_a_failure_that_nobody_thought_of_ends_nothing(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "NEWS_S", 0.01)
    maintenance, turns = made(database, tmp_path), list[int]()

    def fail() -> None:
        turns.append(1)
        raise RuntimeError("a " + "context")

    fail.__name__ = "spread_news"
    monkeypatch.setattr(maintenance, "spread_news", fail)
    assert not maintenance.alive
    maintenance.start()
    deadline = time.monotonic() + 30
    while len(turns) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert maintenance.alive
    maintenance.close()
    assert "spread_news failed: RuntimeError" in caplog.text
    assert "a context" not in caplog.text, "an error may quote one"


def test_a_poll_is_not_woken_for_a_release_that_is_withheld(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, rollouts = Ledger(database), Rollouts(database)
    devices = ["a1", "a2", "a3"]
    for device in devices:
        Registry(database).enrol(device, f"hash of {device}", "bundle")
        for _ in range(2):
            ledger.add_context(device, [1])
            released(ledger, device)
    maintenance = made(database, tmp_path)
    maintenance._seen = ledger.newest_id()
    started(rollouts, devices, 100, 0.0)
    for device in devices:
        released(ledger, device)
    assert [rollouts.report(device, "bundle", 3, "self_test_failed") for device in devices][-1]
    woken: list[object] = []
    monkeypatch.setattr(maintenance._long_polls, "wake", woken.append)

    async def wait() -> None:
        with maintenance._long_polls.registered(("a1", "bundle")):
            maintenance.spread_news()

    asyncio.run(wait())
    assert woken == []


def app_of(**parts: Any) -> FastAPI:
    service = Service.__new__(Service)
    vars(service).update(metrics=Metrics(), long_polls=(), limits=Limits(), **parts)
    return create_app(service)


def test_health_says_that_maintenance_has_ended(database: Database, tmp_path: Path) -> None:
    publisher = SimpleNamespace(last_failed=False, alive=True, generators={})
    health = Health(database, PackStore(str(tmp_path / "packs")))
    upkeep = {"maintenance": made(database, tmp_path), "reconciler": SimpleNamespace(alive=True)}
    app = app_of(health=health, publisher=publisher, **upkeep)
    for path in ("/v1/healthz", "/v1/livez"):
        answer = TestClient(app).get(path)
        assert (answer.status_code, answer.json()["maintenance"]) == (503, "ended")
    assert TestClient(app).get("/v1/readyz").status_code == 200, "what it stands on is there"


def test_a_store_that_is_away_is_to_be_tried_again() -> None:
    app = app_of()

    @app.get("/broken")
    def broken() -> None:
        raise StoreAway("no route")

    answer = TestClient(app).get("/broken")
    assert (answer.status_code, answer.json()) == (503, {"detail": "the store of packs is not available"})
    assert answer.headers["retry-after"] == "1"


def test_a_reload_amid_an_outage_says_what_is_missing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    replaced: list[object] = []

    def away(*_args: object, **_kwargs: object) -> None:
        raise StoreAway("no route")

    keyring = SimpleNamespace(
        signing=SimpleNamespace(kid="kid"), retiring=(), stated=SimpleNamespace(epoch=0)
    )
    service: Any = SimpleNamespace(
        replace=lambda *parts: replaced.append(parts),
        audit=SimpleNamespace(note=away),
        database=SimpleNamespace(writing=away),
    )
    state: Any = SimpleNamespace(read_keys=lambda: SimpleNamespace(keyring=keyring))
    Reload(service, state, dict).run()
    assert len(replaced) == 1
    assert "nothing is replaced" not in caplog.text
    assert "not in the audit log: StoreAway" in caplog.text
    assert "reloaded: 0 bundles" in caplog.text


def test_by_default_a_context_is_deleted_after_thirty_days(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    default = inspect.signature(serve.command).parameters["retain"].default
    assert default == Settings((), (), ServerState(tmp_path)).retain_days
    ledger = Ledger(database)
    Registry(database).enrol("a1", "hash", "bundle")
    ledger.add_context("a1", [1])
    released(ledger, "a1")
    uploaded, kept = time.time(), []
    for days in (29.9, 30.1):
        monkeypatch.setattr(module.time, "time", lambda days=days: uploaded + days * 24 * 3600)
        made(database, tmp_path, default).forget()
        with database.reading() as connection:
            kept.append(connection.scalar(select(func.count()).select_from(Context)))
    assert kept == [1, 0]


def test_an_erased_context_is_nowhere_on_disk(database: Database, tmp_path: Path) -> None:
    registry, ledger = Registry(database), Ledger(database)
    registry.enrol("a1", "hash", "bundle")
    ledger.add_context("a1", [987654321] * 50)
    registry.erase("a1", "device")
    made(database, tmp_path).scrub()
    files = list(tmp_path.glob("mnet.db*"))
    assert files
    assert not [path.name for path in files if b"987654321" in path.read_bytes()]
