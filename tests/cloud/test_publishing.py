"""Generation that fails costs a release, not a context and not the server."""

import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy.exc import InternalError

from mnet.toolchain.cloud.database import Database
from mnet.toolchain.cloud.ledger import Added, Issued, Ledger
from mnet.toolchain.cloud.long_polls import LongPolls
from mnet.toolchain.cloud.maintenance import Maintenance
from mnet.toolchain.cloud.metrics import Metrics
from mnet.toolchain.cloud.pack_store import PackStore
from mnet.toolchain.cloud.registry import Registry
from mnet.toolchain.cloud.rollouts import Rollouts
from mnet.toolchain.cloud.signing_keys import create_signing_key
from mnet.toolchain.contract.keys import load_public_keys, public_keys
from mnet.toolchain.contract.release import Release, sign_release, verify_release
from tests.cloud.driven import rolled_back, started
from tests.cloud.publishers import FlakyGenerator, Released, publishing

EVER = float("inf")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'mnet.db'}")
    for device in ("phone", "other"):
        Registry(database).enrol(device, "hash", "bundle")
    yield database
    database.close()


@pytest.fixture
def ledger(database: Database) -> Ledger:
    return Ledger(database)


def test_a_failed_generation_keeps_the_context_for_the_next_server(
    database: Database, ledger: Ledger, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    released = Released()
    with publishing(ledger, database, tmp_path, FlakyGenerator([4711, 2]), released) as first:
        version = first.accept("phone", [4711, 2])
        first.accept("other", [5])
        first.start()
        released.wait_for(other=1)
    assert not first.last_failed, "one device's input is no fault of the server"
    assert (released.versions, ledger.unreleased(["bundle"], EVER)) == ({"other": [1]}, ["phone"])
    assert "phone" in caplog.text
    assert "ValueError" in caplog.text
    assert "unknown item id 4711" not in caplog.text, "the message of an error may quote a context"
    with publishing(ledger, database, tmp_path, FlakyGenerator(), released) as second:
        second.start()
        released.wait_for(phone=version)
    assert (second.last_failed, ledger.unreleased(["bundle"], EVER)) == (False, [])
    assert ledger.release_after("phone", "bundle", version - 1) is not None


def test_a_release_whose_key_has_gone_or_that_is_about_to_expire_is_signed_again(
    database: Database, ledger: Ledger, tmp_path: Path
) -> None:
    now = int(time.time())
    gone = create_signing_key(tmp_path / "gone.pem")
    with publishing(ledger, database, tmp_path, FlakyGenerator(), Released()) as publisher:
        signing = publisher.keyring.signing
        good = Release("phone", "bundle", 7, "0f" * 32, 4096, now, now + 9 * 24 * 3600)
        assert publisher.signed_now(sign_release(signing, good)) == sign_release(signing, good)
        for stored in (sign_release(gone, good), sign_release(signing, replace(good, expires_at=now + 60))):
            keys = load_public_keys(public_keys(signing))
            asked = {"device": "phone", "bundle": "bundle", "newer_than": 6, "now": now + 25 * 24 * 3600}
            renewed = verify_release(publisher.signed_now(stored), keys, **asked)
            assert (renewed.version, renewed.sha256, renewed.size) == (7, good.sha256, 4096)


def test_what_is_queued_becomes_one_batch_of_the_newest_contexts(
    database: Database, ledger: Ledger, tmp_path: Path
) -> None:
    generator, released = FlakyGenerator(), Released()
    with publishing(ledger, database, tmp_path, generator, released) as publisher:
        for samples in ([1], [2], [3]):
            publisher.accept("phone", samples)
        publisher.accept("other", [9])
        publisher.start()
        released.wait_for(phone=3, other=1)
        assert generator.batches == [2]
        packs = {path.read_text() for path in (tmp_path / "packs").iterdir()}
        assert packs == {"[3] as version 3", "[9] as version 1"}
        publisher.queue(started(Rollouts(database), ["phone"], 100, 0).versions)
        released.wait_for(phone=4)
    assert released.versions == {"phone": [3, 4], "other": [1]}


def test_no_release_is_stored_before_its_pack_is_durable(
    database: Database, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    real_sync, real_add = os.fsync, ledger.add_releases

    def synced(descriptor: int) -> None:
        real_sync(descriptor)
        name = Path(f"/proc/self/fd/{descriptor}").readlink().name
        events.append("folder" if name == "packs" else "pack" if ".safetensors" in name else "key")

    def added(issued: Sequence[Issued]) -> Added:
        events.append("releases")
        return real_add(issued)

    released = Released()
    with publishing(ledger, database, tmp_path, FlakyGenerator(), released) as publisher:
        monkeypatch.setattr(os, "fsync", synced)
        monkeypatch.setattr(ledger, "add_releases", added)
        publisher.accept("phone", [1])
        publisher.accept("other", [2])
        publisher.start()
        released.wait_for(phone=1, other=1)
    assert events == ["pack", "pack", "folder", "releases"]


def test_a_pack_that_a_kill_left_without_a_release_is_swept(
    database: Database, ledger: Ledger, tmp_path: Path
) -> None:
    released = Released()
    with publishing(ledger, database, tmp_path, FlakyGenerator(), released) as publisher:
        publisher.accept("phone", [1])
        publisher.start()
        released.wait_for(phone=1)
        packs = PackStore(f"file://{tmp_path / 'packs'}")
        packs.put_all([("phone", b"put, and killed before its release")])
        maintenance = Maintenance(ledger, packs, publisher, LongPolls(), None, Metrics())
        maintenance.sweep()
        assert len(list((tmp_path / "packs").iterdir())) == 2, "it may be of a batch under way"
        maintenance.sweep(older_than_s=-60)
    assert [path.read_text() for path in (tmp_path / "packs").iterdir()] == ["[1] as version 1"]


def test_a_replica_takes_over_what_another_left(
    database: Database, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mnet.toolchain.cloud.maintenance.TAKE_OVER_S", 0.0)
    released = Released()
    with publishing(ledger, database, tmp_path, FlakyGenerator(), released) as publisher:
        publisher.start()
        ledger.add_context("phone", [1])  # by a replica that died at once
        Maintenance(
            ledger, PackStore(str(tmp_path / "packs")), publisher, LongPolls(), None, Metrics()
        ).take_over()
        released.wait_for(phone=1)


def test_samples_that_the_task_cannot_read_are_never_stored(
    database: Database, ledger: Ledger, tmp_path: Path
) -> None:
    with (
        publishing(ledger, database, tmp_path, FlakyGenerator(), Released()) as refusing,
        pytest.raises(ValueError, match="unknown item id 0"),
    ):
        refusing.accept("phone", [0])
    assert ledger.unreleased(["bundle"], EVER) == []


def test_the_thread_outlives_a_database_that_cannot_be_written(
    database: Database, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mnet.toolchain.cloud.publishing.PAUSE_S", 0.01)
    failed = threading.Event()

    def read_only(*_: object) -> None:
        failed.set()
        raise InternalError("UPDATE", None, Exception("cannot execute UPDATE in a read-only transaction"))

    released = Released()
    with publishing(ledger, database, tmp_path, FlakyGenerator(), released) as publisher:
        publisher.start()
        with monkeypatch.context() as patch:
            patch.setattr(ledger, "add_releases", read_only)
            patch.setattr(ledger.recovery, "failed", read_only)
            publisher.accept("phone", [1])
            assert failed.wait(30)
            while not publisher.last_failed:
                time.sleep(0.01)
        publisher.accept("phone", [2])
        released.wait_for(phone=2)


def test_a_thread_that_died_is_told(
    database: Database, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with publishing(ledger, database, tmp_path, FlakyGenerator(), Released()) as publisher:
        monkeypatch.setattr(publisher, "_work", lambda: None)
        monkeypatch.setattr(publisher, "_worker", threading.Thread(target=lambda: None))
        assert publisher.alive, "it is not started yet"
        publisher.start()
        publisher._worker.join()
        assert not publisher.alive


def test_uploads_come_before_what_was_pushed(
    database: Database, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with publishing(ledger, database, tmp_path, FlakyGenerator(), Released()) as publisher:
        publisher.queue(["pushed", "both", "another"], later=True)
        publisher.queue(["phone", "both"])
        publisher.queue(["phone"], later=True)
        assert publisher._next_batch() == ["phone", "both", "pushed", "another"]


def test_nobody_is_handed_what_was_not_published(
    database: Database, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch was under way when its roll-out was taken back."""
    released, rollouts = Released(), Rollouts(database)
    with publishing(ledger, database, tmp_path, FlakyGenerator(), released) as publisher:
        publisher.accept("phone", [1])
        publisher.start()
        released.wait_for(phone=1)
        real_add, added = ledger.add_releases, threading.Event()

        def late(issued: Sequence[Issued]) -> Added:
            if issued[0].rollout is not None:
                rolled_back(rollouts, issued[0].rollout)
                added.set()
            return real_add(issued)

        monkeypatch.setattr(ledger, "add_releases", late)
        publisher.queue(started(rollouts, ["phone"], 100, 0).versions, later=True)
        assert added.wait(30)
        publisher.accept("other", [9])
        released.wait_for(other=1)
    assert released.versions == {"phone": [1], "other": [1]}
    assert [path.read_text() for path in (tmp_path / "packs").glob("phone-*")] == ["[1] as version 1"]
