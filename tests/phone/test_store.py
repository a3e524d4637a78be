"""What the phone keeps is whole or absent, whatever moment the power fails at."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from joserfc.jwk import ECKey

from mnet.export.format.errors import Reason, Refused
from mnet.export.format.packs import pack_digest
from mnet.toolchain.cloud.state import ServerState
from mnet.toolchain.contract.keys import public_keys
from mnet.toolchain.contract.release import Release
from mnet.toolchain.durable import write_all_durably, write_durably
from mnet.toolchain.errors import UserError
from mnet.toolchain.phone.identity import Identity
from mnet.toolchain.phone.pack_folder import PackFolder
from mnet.toolchain.phone.store import Kept, WeightStore

KEYS = public_keys(ECKey.generate_key("P-256", {"kid": "key"}))
IDENTITY = Identity("phone", "bundle", "phone.secret", KEYS)


def version(number: int) -> tuple[Kept, bytes]:
    pack = f"the weights of version {number}".encode()
    release = Release("phone", "bundle", number, pack_digest(pack), len(pack), 0, 1)
    return Kept(f"jws-{number}", release), pack


class PowerLoss(BaseException):
    """Raised in the middle of things; nothing may catch it."""


def test_two_versions_are_kept_newest_first(tmp_path: Path) -> None:
    store, running = WeightStore(tmp_path), None
    for number in (1, 2, 3):
        new, pack = version(number)
        store.save(new, pack, running)
        running = new
    store.close()
    again = WeightStore(tmp_path)
    assert again.releases() == ["jws-3", "jws-2"]
    for number in (3, 2):
        kept, pack = version(number)
        assert again.pack(kept.release) == pack
    assert len(list((tmp_path / "packs").iterdir())) == 2


@contextmanager
def power_loss_at(step: int) -> Iterator[None]:
    """Cut at that call which makes a difference on disk, of those in this context."""
    steps = iter(range(1, 100))

    def failing(call):  # type: ignore[no-untyped-def]
        def counted(*args, **kwargs):  # type: ignore[no-untyped-def]
            if next(steps) == step:
                raise PowerLoss
            return call(*args, **kwargs)

        return counted

    with pytest.MonkeyPatch.context() as patch, suppress(PowerLoss):
        for owner, name in ((os, "open"), (os, "fsync"), (os, "replace"), (os, "unlink")):
            patch.setattr(owner, name, failing(getattr(owner, name)))
        yield


@pytest.mark.parametrize("step", range(1, 18))
def test_a_power_loss_at_any_step_leaves_a_whole_version(tmp_path: Path, step: int) -> None:
    """The newest kept release has its pack."""
    store = WeightStore(tmp_path)
    first, first_pack = version(1)
    second, second_pack = version(2)
    store.save(first, first_pack, None)
    with power_loss_at(step):
        store.save(second, second_pack, first)
    store.close()
    again = WeightStore(tmp_path)
    newest = again.releases()[0]
    kept = {"jws-1": first, "jws-2": second}[newest]
    assert again.pack(kept.release) == {"jws-1": first_pack, "jws-2": second_pack}[newest]


@pytest.mark.parametrize("step", range(1, 7))
@pytest.mark.parametrize("before", [None, IDENTITY])
def test_a_power_loss_at_any_step_of_an_enrolment_leaves_an_identity_or_the_one_before(
    tmp_path: Path, step: int, before: Identity | None
) -> None:
    """A phone that is killed between the answer and its being kept enrols again; one that learns keys knows the old."""
    store = WeightStore(tmp_path)
    if before is not None:
        store.save_identity(before)
    new = replace(IDENTITY, number=1)
    with power_loss_at(step):
        store.save_identity(new)
    store.close()
    again = WeightStore(tmp_path)
    assert again.identity() in (before, new)
    again.save_identity(new)
    assert again.identity() == new


def test_a_damaged_pack_is_refused_by_name(tmp_path: Path) -> None:
    store = WeightStore(tmp_path)
    kept, pack = version(1)
    store.save(kept, pack, None)
    (path,) = (tmp_path / "packs").iterdir()
    for content, reason in (
        (pack[:-1], Reason.WRONG_SIZE),
        (b"T" + pack[1:], Reason.WRONG_HASH),
    ):
        path.write_bytes(content)
        with pytest.raises(Refused) as refusal:
            store.pack(kept.release)
        assert refusal.value.reason is reason
    path.unlink()
    with pytest.raises(Refused) as refusal:
        store.pack(kept.release)
    assert refusal.value.reason is Reason.MISSING_FILE


def test_a_damaged_pack_is_replaced_when_it_comes_again(tmp_path: Path) -> None:
    folder = PackFolder(tmp_path)
    sha256 = folder.put(b"weights")
    folder.path(sha256).write_bytes(b"w")
    assert folder.put(b"weights") == sha256
    assert folder.path(sha256).read_bytes() == b"weights"


def test_who_the_phone_is_stays_private(tmp_path: Path) -> None:
    store = WeightStore(tmp_path / "phone")
    assert store.identity() is None
    store.save_identity(IDENTITY)
    assert store.identity() == IDENTITY
    assert (tmp_path / "phone" / "identity.json").stat().st_mode & 0o777 == 0o600
    good = (tmp_path / "phone" / "identity.json").read_bytes()
    for damaged in (
        good.replace(b'"number": 0', b'"number": "0"'),
        good.replace(b'"number": 0', b'"number": 1e999'),
        good.replace(b"phone.secret", "phöne.secret".encode()),
        good.replace(b'"phone"', b'"ph\\none"'),
        b"[" * 200_000,
        b"{",
        b"{}",
        b"[]",
        good.replace(b"EC", b""),
    ):
        (tmp_path / "phone" / "identity.json").write_bytes(damaged)
        with pytest.raises(Refused, match="damaged") as refusal:
            store.identity()
        assert refusal.value.reason is Reason.MALFORMED


def test_a_folder_is_one_phones_at_a_time(tmp_path: Path) -> None:
    store = WeightStore(tmp_path)
    with pytest.raises(UserError, match=f"in use by process {os.getpid()}"):
        WeightStore(tmp_path)
    store.close()
    WeightStore(tmp_path).close()


def test_a_servers_folder_is_no_phones(tmp_path: Path) -> None:
    """Nothing in it is deleted or changed, through a link neither; and the other way round."""
    for name, unmarked in (("server", False), ("older", True)):
        state = ServerState.open(tmp_path / name)
        if unmarked:
            (state.folder / "owner.json").unlink()
        pack = state.folder / "packs" / "0123" / f"{'0' * 64}.safetensors"
        pack.parent.mkdir(parents=True)
        pack.write_bytes(b"another phone's")
        link = tmp_path / f"link to {name}"
        link.symlink_to(state.folder)
        for folder in (state.folder, link):
            with pytest.raises(UserError, match="name another one"):
                WeightStore(folder)
        assert pack.read_bytes() == b"another phone's"
    WeightStore(tmp_path / "phone").close()
    with pytest.raises(UserError, match="folder of a phone"):
        ServerState.open(tmp_path / "phone")


def test_packs_are_neither_read_nor_deleted_through_a_link(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "phone").mkdir()
    (tmp_path / "phone" / "identity.json").symlink_to(elsewhere / "identity.json")
    (tmp_path / "phone" / "packs").symlink_to(elsewhere)
    with pytest.raises(UserError, match="is a link"):
        WeightStore(tmp_path / "phone")
    (tmp_path / "phone" / "packs").unlink()
    (elsewhere / "identity.json").write_text("{}")
    store = WeightStore(tmp_path / "phone")
    with pytest.raises(Refused):
        store.identity()


def test_only_ones_own_files_are_deleted_and_all_are_private(tmp_path: Path) -> None:
    (tmp_path / "packs").mkdir(mode=0o755)
    (tmp_path / "identity.json").write_text("of a phone before there was a marker")
    tmp_path.chmod(0o755)
    for name in ("notes.txt", f"{'0' * 64}.safetensors", f".{'0' * 64}.safetensors.01234567.tmp"):
        (tmp_path / "packs" / name).write_text("x")
    store = WeightStore(tmp_path)
    new, pack = version(1)
    store.save(new, pack, None)
    kept = {path.name for path in (tmp_path / "packs").iterdir()}
    assert kept == {"notes.txt", f"{new.release.sha256}.safetensors"}
    private = [tmp_path, tmp_path / "packs", tmp_path / "current.jws", tmp_path / "owner.json"]
    private.append(tmp_path / "packs" / f"{new.release.sha256}.safetensors")
    assert [path.stat().st_mode & 0o077 for path in private] == [0] * len(private)


def test_a_folder_that_cannot_be_had_is_the_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot keep"):
        WeightStore(tmp_path / "file")


def test_a_failed_write_leaves_the_old_file_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_durably(path, b"old")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_durably(path, b"new")
    with pytest.raises(OSError, match="No space"):
        write_all_durably({path: b"new", tmp_path / "another": b"new"})
    monkeypatch.undo()
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
    assert path.read_bytes() == b"old"


def test_more_files_than_may_be_open_are_written(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))
    try:
        write_all_durably({tmp_path / str(n): str(n).encode() for n in range(1024)})
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert {int(path.name): int(path.read_bytes()) for path in tmp_path.iterdir()} == {
        n: n for n in range(1024)
    }
