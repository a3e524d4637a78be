"""Versions only rise, what was accepted is never lost, and nothing of a device is found under another."""

import threading
from pathlib import Path

import pytest
from sqlalchemy.exc import IntegrityError

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
    database.add_releases([(claims, f"jws-{device}-{version}")])


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
    (wanted,) = database.wanted(["a"])
    assert (wanted.version, wanted.samples) == (80, [versions[80]])


def test_a_device_sees_its_newest_valid_release_only(database: Database) -> None:
    release(database, "a", 3)
    release(database, "a", 4, expires_at=NOW)
    release(database, "b", 9)
    assert database.release_after("a", 0, NOW) == "jws-a-3"
    assert database.release_after("a", 2, NOW) == "jws-a-3"
    assert database.release_after("a", 3, NOW) is None
    assert database.has_pack("a", "a3")
    assert not database.has_pack("a", "b9")


def test_the_newest_two_releases_of_each_device_are_kept(database: Database) -> None:
    def published(*named: tuple[str, int, str]) -> set[str]:
        claims = [
            Release(device, "bundle", version, pack, 1, NOW, NOW + 60) for device, version, pack in named
        ]
        return database.add_releases([(each, f"jws-{each.device}-{each.version}") for each in claims])

    assert published(("a", 1, "shared"), ("b", 1, "shared")) == set()
    assert published(("a", 2, "a2"), ("b", 2, "b2")) == set()
    assert published(("a", 5, "a5")) == set(), "another device still has it"
    assert not database.has_pack("a", "shared")
    assert database.has_pack("b", "shared")
    assert published(("a", 6, "a6"), ("b", 3, "b3")) == {"shared", "a2"}
    assert database.unnamed(["shared", "a2", "a5", "a6", "b2", "b3", "stray"]) == {"shared", "a2", "stray"}
    assert database.release_after("a", 0, NOW) == "jws-a-6"


def test_a_batch_of_releases_is_published_wholly_or_not_at_all(database: Database) -> None:
    release(database, "a", 1)
    claims = [Release(device, "bundle", 1, "pack", 1, NOW, NOW + 60) for device in ("b", "a")]
    with pytest.raises(IntegrityError):
        database.add_releases([(each, "jws") for each in claims])
    assert database.release_after("b", 0, NOW) is None


def test_what_was_accepted_and_not_released_is_found_again(database: Database) -> None:
    assert database.unreleased() == []
    database.add_context("a", [1, 2, 3])
    version = database.add_context("b", [4])
    release(database, "b", version)
    assert database.unreleased() == ["a"]
    assert [wanted.device for wanted in database.wanted(["a", "b"])] == ["a"]
    version = database.add_context("b", [5])
    assert set(database.unreleased()) == {"a", "b"}
    wanted = {each.device: each for each in database.wanted(["a", "b", "nobody"])}
    assert set(wanted) == {"a", "b"}
    assert (wanted["b"].version, wanted["b"].samples) == (version, [5])


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
