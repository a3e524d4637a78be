"""The drill: back up, go on, lose the machine, restore; all phones are on new weights without a person."""

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from mnet.export.format.bundle import Bundle
from mnet.export.format.packs import pack_digest
from mnet.toolchain.cloud.backup import back_up, restore
from mnet.toolchain.cloud.database import Database
from mnet.toolchain.cloud.facts import check_whole
from mnet.toolchain.cloud.ledger import Ledger
from mnet.toolchain.cloud.pack_store import PackStore
from mnet.toolchain.cloud.recovery import AHEAD_AT_MOST
from mnet.toolchain.cloud.registry import LEFT_BEHIND, Registry
from mnet.toolchain.cloud.signing_keys import read_key
from mnet.toolchain.cloud.state import ServerState
from mnet.toolchain.errors import UserError
from mnet.toolchain.fleet.postgres import PostgresServer
from mnet.toolchain.fleet.processes import ServerProcess
from mnet.toolchain.phone.phone import Phone
from mnet.toolchain.phone.updater import Updater
from tests.cloud.callers import Device, enrol, operator
from tests.cloud.crowd import Crowd
from tests.mnet_command import Mnet


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Closed at the end of a test, whatever becomes of it."""
    with ExitStack() as opened:
        yield opened


def new_database(kind: str, request: pytest.FixtureRequest) -> list[str]:
    """Options of a server, or of a command, on an empty database."""
    if kind == "sqlite":
        return []
    server: PostgresServer = request.getfixturevalue("postgres")
    return ["--database", server.new_database()]


def follow(phone: Phone, server: ServerProcess, contexts: list[list[int]]) -> None:
    """What a real phone does until it runs what came of these contexts, or of any push."""
    key = read_key(server.enrolment_key)
    Updater(phone, server.url, lambda *_, **__: None, enrolment_key=key, contexts=contexts, once=True).run(
        threading.Event()
    )


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_the_drill(
    tiny_run: Path,
    tiny_bundle: Path,
    tmp_path: Path,
    mnet: Mnet,
    stack: ExitStack,
    kind: str,
    request: pytest.FixtureRequest,
) -> None:
    """Three scripted phones, a real one, and a crowd of light ones (`--phones`)."""
    bundle = Bundle.load(tiny_bundle)
    state, backup = tmp_path / "server", tmp_path / "backup"
    given, count = new_database(kind, request), request.config.getoption("--phones")
    phone = Phone(bundle, tmp_path / "phone", lambda *_, **__: None)
    with (
        ServerProcess(tiny_run, tiny_bundle, state, options=given) as server,
        httpx.Client(base_url=f"{server.url}/v1", timeout=30) as http,
    ):
        port = httpx.URL(server.url).port or 0
        before = [enrol(http, server, bundle) for _ in range(3)]
        quiet, ahead, _ = before
        for device in before:
            device.upload([1, 2])
            device.release(bundle.id)
        follow(phone, server, [[3, 4]])
        crowd = Crowd(server, bundle, count)
        stack.callback(crowd.close)
        crowd.upload(slice(None))
        code, stdout, stderr = mnet("backup", "--state", state, *given, "--out", backup)
        assert (code, f"{4 + count:,} devices" in stdout) == (0, True), stderr
        crowd.upload(slice(count // 2))
        for turn in range(3):
            ahead.upload([5, turn + 1])
            ahead.release(bundle.id, after=turn + 1)
        follow(phone, server, [[6, 7], [8, 9]])
        assert phone.version == 3
        new, gone = (enrol(http, server, bundle) for _ in range(2))
        new.upload([5])
        assert new.release(bundle.id).version == 1
        server.kill()
    shutil.rmtree(state)
    into = new_database(kind, request)
    code, _, stderr = mnet("restore", backup, "--state", state, *into)
    assert code == 0, stderr
    code, _, stderr = mnet("restore", backup, "--state", state, *into)
    assert (code, "holds devices already" in stderr) == (2, True)
    with (
        ServerProcess(tiny_run, tiny_bundle, state, port=port, options=into) as server,
        httpx.Client(base_url=f"{server.url}/v1", timeout=30) as http,
    ):
        for device in [*before, new, gone]:
            device.http = http
        running = {quiet: 1, ahead: 4}
        for device, version in running.items():
            release = fetched(device, bundle, after=version if device is ahead else 0)
            assert release > version, "its pack was lost with the machine, or it was ahead"
        version = new.upload([5, 6])
        assert version > 1, "a device that enrolled after the backup is known by its token"
        assert fetched(new, bundle, after=1) == version
        follow(phone, server, [])
        assert phone.version > 3, "a real phone takes what it is given"
        crowd.get_more_than([2] * (count // 2), slice(count // 2))
        boss, had = operator(http, server), crowd.versions
        assert boss.post("/push", {}).status_code == 202
        crowd.get_more_than(had, slice(None))
        assert boss.delete(f"/devices/{gone.id}").status_code == 404, "it has not called yet"
        assert gone.get(f"/devices/{gone.id}/release", timeout=0).status_code == 204
        assert boss.delete(f"/devices/{gone.id}").status_code == 204
        assert gone.get(f"/devices/{gone.id}/release", timeout=0).status_code == 401, "erased is erased"
        forged = Device(http, {"device": new.id[::-1], "token": new.token[::-1], "keys": {}})
        assert forged.get(f"/devices/{forged.id}/release").status_code == 401
    phone.close()


def fetched(device: Device, bundle: Bundle, after: int) -> int:
    """Poll and fetch until a pack is there; its version."""
    while True:
        release = device.release(bundle.id, after=after)
        pack = device.get(f"/packs/{release.sha256}")
        if pack.status_code == 200:
            assert pack_digest(pack.content) == release.sha256
            return release.version
        after = release.version


def test_a_phone_that_lies_about_its_version_comes_to_nothing(database: Database) -> None:
    registry, ledger = Registry(database), Ledger(database)
    registry.enrol("phone", "hash", "bundle")
    ledger.add_context("phone", [1])
    assert not ledger.recovery.raise_above("phone", 2 + AHEAD_AT_MOST)
    assert not ledger.recovery.raise_above("phone", 1)
    assert ledger.recovery.raise_above("phone", 1 + AHEAD_AT_MOST)
    assert not ledger.recovery.raise_above("phone", 1000 + AHEAD_AT_MOST), "not again on the same day"
    assert ledger.add_context("phone", [2]) == AHEAD_AT_MOST + 3


def test_an_interrupted_restore_is_done_again_and_served_by_nobody_meanwhile(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, another: Callable[[], str]
) -> None:
    state = ServerState.open(tmp_path / "server")
    packs = PackStore(state.packs_url())
    for device in ("uploaded", "enrolled"):
        Registry(database).enrol(device, "hash", "bundle")
    Ledger(database).add_context("uploaded", [1])
    (state.keys / "..data").mkdir()  # as Kubernetes has it where it mounts a secret
    back_up(state, database, packs, tmp_path / "backup")
    url = another()
    with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
        killed.setattr("mnet.toolchain.cloud.backup.note_restored", interrupted)
        restore(tmp_path / "backup", url, packs)
    half = Database(url)
    with pytest.raises(UserError, match="run the same `mnet restore` again"):
        check_whole(half)
    half.close()
    restore(tmp_path / "backup", url, packs)
    whole = Database(url)
    check_whole(whole)
    for device in ("uploaded", "enrolled"):
        known = Registry(whole).known(device)
        assert known is not None
        assert known.version >= LEFT_BEHIND, "also where it had none: it may have been given one since"
    whole.close()


def interrupted(*_: object) -> None:
    """As by a kill just before the last transaction of a restore ends."""
    raise KeyboardInterrupt


@pytest.fixture
def another(database: Database, tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[], str]:
    """Makes the URL of one more empty database of the kind of `database`."""
    if database.dialect == "sqlite":
        return lambda: f"sqlite:///{tmp_path / 'restored.db'}"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.new_database


def test_a_backup_that_was_not_finished_is_none(database: Database, tmp_path: Path) -> None:
    state = ServerState.open(tmp_path / "server")
    packs = PackStore(state.packs_url())
    back_up(state, database, packs, tmp_path / "backup")
    with pytest.raises(UserError, match="a folder of its own"):
        back_up(state, database, packs, tmp_path / "backup")
    (tmp_path / "backup" / "backup.json").unlink()
    with pytest.raises(UserError, match="no finished backup"):
        restore(tmp_path / "backup", f"sqlite:///{tmp_path / 'new.db'}", packs)
