"""Versions only rise, what was accepted is never lost, and nothing of a device is found under another."""

import threading
from pathlib import Path

import pytest

from toolchain.cloud.database import Database
from toolchain.cloud.release import Release
from toolchain.errors import UserError

NOW = 1_700_000_000


@pytest.fixture
def database(tmp_path: Path) -> Database:
    database = Database(f"sqlite:///{tmp_path / 'mnet.db'}")
    for device in ("a", "b"):
        database.add_device(device, "hash", "bundle")
    return database


def release(database: Database, device: str, version: int, expires_at: int = NOW + 60) -> None:
    claims = Release(device, "bundle", version, f"{device}{version}", 1, NOW, expires_at)
    database.add_release(claims, f"jws-{device}-{version}")


def test_concurrent_uploads_get_every_version_once(database: Database) -> None:
    """Eight threads at once: what each stored under its version is what that version stems from."""
    versions: dict[int, int] = {}
    lock = threading.Lock()

    def upload(worker: int) -> None:
        for turn in range(10):
            samples = [worker * 100 + turn]
            version = database.add_context("a", samples)
            with lock:
                versions[version] = samples[0]

    threads = [threading.Thread(target=upload, args=(worker,)) for worker in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(versions) == list(range(1, 81))
    wanted = database.wanted("a")
    assert wanted is not None
    assert (wanted.version, wanted.samples) == (80, [versions[80]])


def test_a_device_sees_its_newest_valid_release_only(database: Database) -> None:
    release(database, "a", 1)
    release(database, "a", 3)
    release(database, "a", 2)
    release(database, "a", 4, expires_at=NOW)
    release(database, "b", 9)
    assert database.release_after("a", 0, NOW) == "jws-a-3"
    assert database.release_after("a", 2, NOW) == "jws-a-3"
    assert database.release_after("a", 3, NOW) is None
    assert database.has_pack("a", "a1")
    assert not database.has_pack("a", "b9")


def test_what_was_accepted_and_not_released_is_found_again(database: Database) -> None:
    assert database.unreleased() == []
    database.add_context("a", [1, 2, 3])
    version = database.add_context("b", [4])
    release(database, "b", version)
    assert database.unreleased() == ["a"]
    assert database.wanted("b") is None
    version = database.add_context("b", [5])
    assert set(database.unreleased()) == {"a", "b"}
    wanted = database.wanted("b")
    assert wanted is not None
    assert (wanted.version, wanted.samples) == (version, [5])


def test_a_push_renews_those_with_a_context_or_nobody(database: Database) -> None:
    database.add_context("a", [1])
    assert database.renew(None) == {"a": 2}
    assert database.renew(["a"]) == {"a": 3}
    with pytest.raises(LookupError, match="b, nobody"):
        database.renew(["a", "b", "nobody"])
    assert database.renew(["a"]) == {"a": 4}


def test_what_is_no_database_is_the_users_mistake(tmp_path: Path) -> None:
    path = tmp_path / "mnet.db"
    path.write_bytes(b"not a database, long enough to be looked at" * 100)
    with pytest.raises(UserError, match="cannot open the database"):
        Database(f"sqlite:///{path}")
