"""Versions only rise, what was accepted is never lost, and nothing of a device is found under another."""

import threading
import time
from collections.abc import Callable

import pytest
from sqlalchemy import insert, select, update

from mnet.toolchain.cloud import queries
from mnet.toolchain.cloud.database import Database
from mnet.toolchain.cloud.ledger import WAITS_AT_MOST_S, Issued, Ledger
from mnet.toolchain.cloud.recovery import TRIES
from mnet.toolchain.cloud.registry import Registry
from mnet.toolchain.cloud.tables import Context, Device, Installation
from mnet.toolchain.contract.release import Release

NOW = 1_700_000_000
EVER = float("inf")


@pytest.fixture
def registry(database: Database) -> Registry:
    registry = Registry(database)
    for device in ("a", "b"):
        registry.enrol(device, "hash", "bundle")
    return registry


@pytest.fixture
def ledger(database: Database, registry: Registry) -> Ledger:
    return Ledger(database)


def issued(device: str, version: int, bundle: str = "bundle", expires_at: int = NOW + 60) -> Issued:
    release = Release(device, bundle, version, f"{bundle}-{device}{version}", 1, NOW, expires_at)
    return Issued(release, f"jws-{bundle}-{device}-{version}")


def at_once(work: Callable[[int], None], workers: int = 8) -> None:
    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_concurrent_uploads_get_every_version_once(ledger: Ledger) -> None:
    """Eight threads at once: what each stored under its version is what that version stems from."""
    versions: dict[int, int] = {}
    lock = threading.Lock()

    def upload(worker: int) -> None:
        for turn in range(10):
            samples = [worker * 100 + turn]
            version = ledger.add_context("a", samples)
            with lock:
                versions[version] = samples[0]

    at_once(upload)
    assert sorted(versions) == list(range(1, 81))
    (wanted,) = ledger.wanted(["a"])
    assert (wanted.version, wanted.samples) == (80, [versions[80]])


def test_replicas_at_once_release_every_version_once(ledger: Ledger) -> None:
    """Ids rise in the order of commits: who reads up to an id has missed nothing below it."""
    for device in ("a", "b"):
        ledger.add_context(device, [1])
    seen: list[int] = []
    done = threading.Event()

    def watch() -> None:
        while True:
            last = done.is_set()
            seen.extend(new.id for new in ledger.news(seen[-1] if seen else 0))
            if last:
                return

    watching = threading.Thread(target=watch)
    watching.start()
    at_once(lambda worker: [ledger.add_releases([issued(d, v)]) for v in range(1, 9) for d in "ab"] and None)
    done.set()
    watching.join()
    assert len(seen) == 16
    assert seen == sorted(seen)
    assert {(new["version"]) for new in ledger.history("a")} == set(range(1, 9))


def test_a_device_sees_its_newest_release_only(ledger: Ledger) -> None:
    ledger.add_releases([issued("a", 2), issued("a", 3), issued("b", 9)])
    assert ledger.release_after("a", "bundle", 0) == "jws-bundle-a-3"
    assert ledger.release_after("a", "bundle", 2) == "jws-bundle-a-3"
    assert ledger.release_after("a", "bundle", 3) is None
    assert ledger.release_after("a", "other", 0) is None
    assert ledger.pack_owner("a", "bundle-a3") is not None
    assert ledger.pack_owner("a", "bundle-b9") is None


def test_the_newest_two_releases_of_each_device_and_bundle_are_kept(ledger: Ledger) -> None:
    assert ledger.add_releases([issued("a", 1), issued("b", 1), issued("a", 1, "other")]).useless == []
    assert ledger.add_releases([issued("a", 2), issued("b", 2)]).useless == []
    assert ledger.add_releases([issued("a", 5)]).useless == [("a", "bundle-a1")]
    assert ledger.add_releases([issued("a", 6), issued("a", 7, "other")]).useless == [("a", "bundle-a2")]
    assert ledger.pack_owner("a", "bundle-a1") is None
    assert ledger.pack_owner("a", "other-a1") is not None
    assert ledger.named([("a", "bundle-a5"), ("a", "bundle-a1"), ("b", "bundle-a6")]) == {("a", "bundle-a5")}
    assert [(each["version"], each["bundle"]) for each in ledger.history("a")] == [
        (7, "other"),
        (6, "bundle"),
        (5, "bundle"),
        (2, "bundle"),
        (1, "other"),
        (1, "bundle"),
    ]


def test_a_release_that_another_replica_made_is_left_as_it_is(ledger: Ledger) -> None:
    ledger.add_releases([issued("a", 1)])
    again = Issued(issued("a", 1).release, "signed again")
    assert ledger.add_releases([again, issued("b", 1)]).useless == []
    assert ledger.release_after("a", "bundle", 0) == "jws-bundle-a-1"
    assert ledger.release_after("b", "bundle", 0) == "jws-bundle-b-1"


def test_what_was_accepted_and_not_released_is_found_again(ledger: Ledger) -> None:
    assert ledger.unreleased(["bundle"], EVER) == []
    ledger.add_context("a", [1, 2, 3])
    ledger.add_releases([issued("b", ledger.add_context("b", [4]))])
    assert ledger.unreleased(["bundle"], EVER) == ["a"]
    assert ledger.unreleased(["bundle"], before=NOW) == [], "it has only just come"
    assert ledger.unreleased(["other"], EVER) == [], "another replica has its bundle"
    assert [wanted.device for wanted in ledger.wanted(["a", "b"])] == ["a"]
    version = ledger.add_context("b", [5])
    assert set(ledger.unreleased(["bundle"], EVER)) == {"a", "b"}
    wanted = {each.device: each for each in ledger.wanted(["a", "b", "nobody"])}
    assert set(wanted) == {"a", "b"}
    assert (wanted["b"].version, wanted["b"].samples) == (version, [5])
    start = time.time()
    assert ledger.recovery.failed(["b"], 60) == []
    assert ledger.unreleased(["bundle"], before=start + 59) == ["a"]


def test_what_cannot_be_made_is_tried_less_and_less_and_then_no_more(ledger: Ledger) -> None:
    ledger.add_context("a", [1])
    for turn in range(TRIES - 1):
        start, late = time.time(), 60 * 2**turn
        assert ledger.recovery.failed(["a"], 60) == []
        assert ledger.unreleased(["bundle"], before=start + late - 1) == []
        assert ledger.unreleased(["bundle"], before=time.time() + late + 1) == ["a"]
    assert ledger.recovery.failed(["a"], 60) == ["a"]
    assert ledger.unreleased(["bundle"], EVER) == [], "nobody is kept busy by it for good"
    ledger.add_context("a", [2])
    assert ledger.unreleased(["bundle"], EVER) == ["a"]


def test_each_bundle_of_a_device_gets_the_version(ledger: Ledger, registry: Registry) -> None:
    ledger.add_releases([issued("a", ledger.add_context("a", [1]))])
    registry.install("a", ["other", "bundle"])
    (wanted,) = ledger.wanted(["a"])
    assert (wanted.bundle, wanted.version, wanted.samples) == ("other", 1, [1])
    ledger.add_releases([issued("a", 1, "other")])
    assert ledger.wanted(["a"]) == []
    assert ledger.unreleased(["bundle", "other"], EVER) == []
    ledger.add_context("a", [2])
    assert {(each.bundle, each.version) for each in ledger.wanted(["a"])} == {("bundle", 2), ("other", 2)}
    registry.install("a", ["other"])
    assert {(each.bundle, each.version) for each in ledger.wanted(["a"])} == {("other", 2)}


def test_contexts_are_forgotten_once_their_weights_are_made(ledger: Ledger) -> None:
    version = ledger.add_context("a", [1])
    ledger.forget(contexts_before=time.time() + 1, releases_before=0)
    assert len(ledger.wanted(["a"])) == 1, "it is still needed"
    ledger.add_releases([issued("a", version)])
    ledger.forget(contexts_before=None, releases_before=0)
    ledger.forget(contexts_before=EVER, releases_before=NOW + 1)
    assert len(ledger.history("a")) == 1, "a release whose pack is kept is no history"
    assert ledger.release_after("a", "bundle", 0) is not None
    for version in (2, 3):
        ledger.add_releases([issued("a", version)])
    ledger.forget(contexts_before=None, releases_before=NOW + 1)
    assert [each["version"] for each in ledger.history("a")] == [3, 2]


def test_an_erased_device_leaves_nothing_and_gets_nothing(ledger: Ledger, registry: Registry) -> None:
    ledger.add_context("a", [1])
    ledger.add_releases([issued("a", 1)])
    ledger.add_context("b", [1])
    assert registry.erase("a", "operator")
    assert not registry.erase("a", "operator")
    assert registry.known("a") is None
    assert ledger.history("a") == []
    # A batch that was under way: the device's pack is handed back to be deleted, the others are released.
    assert ledger.add_releases([issued("a", 2), issued("b", 1)]).useless == [("a", "bundle-a2")]
    assert ledger.release_after("b", "bundle", 0) is not None
    with pytest.raises(LookupError):
        ledger.add_context("a", [2])


def test_a_revoked_token_is_worth_nothing(registry: Registry) -> None:
    assert registry.revoke("a")
    assert not registry.revoke("nobody")
    known = registry.known("a")
    assert known is not None
    assert known.token_sha256 is None


def contexts(database: Database) -> list[str]:
    with database.reading() as connection:
        return list(connection.scalars(select(Context.device)))


def test_an_installation_of_what_was_given_asks_for_nothing(
    database: Database, ledger: Ledger, registry: Registry
) -> None:
    ledger.add_releases([issued("a", ledger.add_context("a", [1]))])
    registry.install("a", ["other"])
    ledger.add_releases([issued("a", 1, "other")])
    registry.install("a", ["other", "bundle"])
    ledger.forget(contexts_before=time.time() + 1, releases_before=0)
    assert contexts(database) == []


def test_a_context_for_a_bundle_that_nobody_serves_is_forgotten_in_the_end(
    database: Database, ledger: Ledger, registry: Registry
) -> None:
    registry.install("a", ["bundle", "gone"])
    ledger.add_releases([issued("a", ledger.add_context("a", [1]))])
    ledger.forget(contexts_before=time.time() + 1, releases_before=0)
    assert contexts(database) == ["a"]
    ledger.forget(contexts_before=time.time() + 1 + WAITS_AT_MOST_S, releases_before=0)
    assert contexts(database) == []
    assert ledger.unreleased(["gone"], EVER) == []


def test_an_upload_that_is_being_stored_is_not_forgotten(
    database: Database, ledger: Ledger, registry: Registry
) -> None:
    if database.dialect == "sqlite":
        pytest.skip("its writers take turns")
    ledger.add_releases([issued("a", ledger.add_context("a", [1]))])
    forgetting = threading.Thread(
        target=ledger.forget, kwargs={"contexts_before": time.time() + 60, "releases_before": 0}
    )
    with database.writing() as connection:  # as `add_context` does
        connection.execute(queries.UPLOADED, {"of": "a", "now": NOW})
        replaced = {"of": "a", "samples": [2], "uploaded_at": time.time()}
        connection.execute(queries.REPLACE_CONTEXT, replaced)
        forgetting.start()
        forgetting.join(1)
    forgetting.join()
    assert [each.samples for each in ledger.wanted(["a"])] == [[2]]


def test_what_is_installed_beside_a_batch_is_still_asked_for(
    database: Database, ledger: Ledger, registry: Registry
) -> None:
    if database.dialect == "sqlite":
        pytest.skip("its writers take turns")
    version = ledger.add_context("a", [1])
    adding = threading.Thread(target=ledger.add_releases, args=([issued("a", version)],))
    with database.writing() as connection:  # as `install` does
        connection.execute(update(Device).where(Device.id == "a").values(bundle="other", pending=True))
        connection.execute(insert(Installation).values(device="a", bundle="other"))
        adding.start()
        adding.join(1)
    adding.join()
    assert [each.bundle for each in ledger.wanted(["a"])] == ["other"]


def test_an_erased_device_installs_nothing(registry: Registry) -> None:
    registry.erase("a", "device")
    with pytest.raises(LookupError):
        registry.install("a", ["bundle"])
