"""Packs in a folder and in a real S3 (over HTTP on loopback): whole, by device, and gone when asked to be."""

import os
import time
from pathlib import Path

import pytest

from mnet.export.format.packs import pack_digest
from mnet.toolchain.cloud.pack_store import PackStore
from mnet.toolchain.errors import UserError
from mnet.toolchain.object_store import ObjectStore, StoreAway

DEVICES = ["0a11", "0b22", "ff33"]


@pytest.fixture(params=["file", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> PackStore:
    if request.param == "file":
        return PackStore(f"file://{tmp_path / 'packs'}")
    request.getfixturevalue("s3")
    return PackStore(f"s3://fleet/{tmp_path.name}/packs")


def listed(store: PackStore, before: float) -> set[tuple[str, str]]:
    return {pack for some in store.older_than(before) for pack in some}


def test_packs_are_kept_by_device_and_digest(store: PackStore) -> None:
    packs = [(device, f"weights {n} of {device}".encode()) for device in DEVICES for n in range(20)]
    digests = store.put_all(packs)
    assert digests == [pack_digest(data) for _, data in packs]
    names = [(device, sha256) for (device, _), sha256 in zip(packs, digests, strict=True)]
    assert [store.read(*name) for name in names] == [data for _, data in packs]
    assert listed(store, time.time() + 60) == set(names)
    assert listed(store, time.time() - 60) == set()
    store.discard([names[0], names[20], ("0a11", "0" * 64)])
    with pytest.raises(FileNotFoundError):
        store.read(*names[0])
    store.discard_device("0b22")
    left = {name for name in names[1:] if name[0] != "0b22"}
    assert listed(store, time.time() + 60) == left
    store.discard([])
    assert store.put_all([]) == []


def test_the_same_pack_of_two_devices_is_deleted_for_one(store: PackStore) -> None:
    sha256, _ = store.put_all([(device, b"the same weights") for device in DEVICES[:2]])
    store.discard_device(DEVICES[0])
    assert store.read(DEVICES[1], sha256) == b"the same weights"


def test_a_damaged_pack_is_replaced_when_it_is_made_again(tmp_path: Path) -> None:
    store = PackStore(str(tmp_path))
    (sha256,) = store.put_all([("a", b"weights")])
    (path,) = tmp_path.iterdir()
    path.write_bytes(b"w")
    store.put_all([("a", b"weights")])
    assert store.read("a", sha256) == b"weights"


def test_a_place_that_cannot_be_had_is_the_users_mistake(tmp_path: Path, s3: str) -> None:
    (tmp_path / "file").write_text("in the way")
    for url in (f"file://{tmp_path / 'file'}", "s3://no-such-bucket/packs", "nowhere://x"):
        with pytest.raises(UserError, match="cannot keep files"):
            PackStore(url)


def test_no_device_leads_out_of_the_store(store: PackStore, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a device"):
        store.put_all([("../evil", b"weights")])
    with pytest.raises(ValueError, match="no SHA-256"):
        store.read("a", "../../" + "0" * 58)


def test_what_a_kill_left_half_written_goes_with_its_device_or_with_time(tmp_path: Path) -> None:
    store, now = PackStore(str(tmp_path)), time.time()
    left = [tmp_path / f".{device}-{'0' * 64}.safetensors.abcd.tmp" for device in ("a", "ab", "b")]
    for path, age in zip(left, (0, 0, 4000), strict=True):
        path.write_bytes(b"half")
        os.utime(path, (now - age, now - age))
    store.discard_device("a")
    assert set(tmp_path.iterdir()) == set(left[1:])
    store.tidy(now - 3600)
    assert set(tmp_path.iterdir()) == {left[1]}


def test_a_large_store_is_listed_in_parts(store: PackStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database takes only so many parameters."""
    monkeypatch.setattr("mnet.toolchain.object_store._AT_ONCE", 8)
    store.put_all([("0a11", bytes([n])) for n in range(20)])
    assert [len(some) for some in store.older_than(time.time() + 60)] == [8, 8, 4]


def test_a_file_that_vanishes_while_it_is_listed_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ObjectStore(str(tmp_path))
    store.write({"a": b"1", "b": b"2"})
    real = os.scandir

    class Vanishing:
        def __init__(self, folder: str) -> None:
            self.entries = list(real(folder))
            (tmp_path / "a").unlink()

        def __enter__(self) -> list[os.DirEntry[str]]:
            return self.entries

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(os, "scandir", Vanishing)
    assert [name for some in store.written("ab") for name, _ in some] == ["b"]


def test_a_store_that_is_away_has_one_error(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = PackStore("s3://fleet/away")

    def dead(*_args: object, **_kwargs: object) -> None:
        raise RuntimeError("EndpointConnectionError, which is no OSError")

    for name in ("pipe", "cat_file", "find", "rm"):
        monkeypatch.setattr(store._objects._fs, name, dead)
    for call in (
        lambda: store.put_all([("a", b"weights")]),
        lambda: store.read("a", "0" * 64),
        lambda: store.discard([("a", "0" * 64)]),
        lambda: listed(store, 0),
    ):
        with pytest.raises(StoreAway, match="EndpointConnectionError"):
            call()
