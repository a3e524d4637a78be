"""What breaks a server, and what is only said to: disks, locks, keys, and one device's input."""

import logging
import shutil
import signal
import sqlite3
import threading
import time
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from mnet.export.format.bundle import Bundle
from mnet.toolchain.cloud.database import Database
from mnet.toolchain.cloud.facts import trusted_key
from mnet.toolchain.cloud.health import Health
from mnet.toolchain.cloud.ledger import Ledger
from mnet.toolchain.cloud.pack_store import PackStore
from mnet.toolchain.cloud.registry import Registry
from mnet.toolchain.cloud.signing_keys import retire, rotate
from mnet.toolchain.cloud.state import ServerState
from mnet.toolchain.errors import UserError
from mnet.toolchain.fleet.processes import ServerProcess
from tests.cloud.callers import Device, enrol, eventually
from tests.mnet_command import Mnet


def test_one_devices_input_and_a_lock_that_nobody_gives_back(
    tiny_run: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    bundle, state = Bundle.load(tiny_bundle), tmp_path / "server"
    with (
        ServerProcess(tiny_run, tiny_bundle, state) as server,
        httpx.Client(base_url=f"{server.url}/v1", timeout=30) as http,
    ):
        device, other = (enrol(http, server, bundle) for _ in range(2))
        # Past the checks of an upload, as by an earlier release: an item that the run does not know.
        database = Database(f"sqlite:///{state / 'mnet.db'}")
        Ledger(database).add_context(device.id, [10**9])
        other.upload([1, 2])
        assert other.release(bundle.id).version == 1

        def poll() -> httpx.Response:
            return device.get(f"/devices/{device.id}/release", timeout=0)

        told = eventually(poll, lambda answer: "Mnet-Not-Made" in answer.headers)
        assert (told.status_code, told.headers["Mnet-Not-Made"]) == (204, "1")
        for path in ("/livez", "/readyz", "/healthz"):
            assert http.get(path).status_code == 200, "one device's input is no fault of the server"
        failed = httpx.get(f"{server.url}/metrics").text
        assert "mnet_failed_contexts_total 1.0" in failed
        device.upload([1, 2])
        assert device.release(bundle.id, after=1).version == 2
        assert "Mnet-Not-Made" not in poll().headers
        # A lock that another process holds: requests hang in the pool, and the server ends all the same.
        with sqlite3.connect(state / "mnet.db", isolation_level=None) as holder:
            holder.execute("BEGIN IMMEDIATE")
            hanging = threading.Thread(target=_try_to_upload, args=(device,))
            hanging.start()
            time.sleep(0.5)
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(25) == 0
            holder.execute("ROLLBACK")
        holder.close()
        hanging.join()
        database.close()


def _try_to_upload(device: Device) -> None:
    with suppress(httpx.HTTPError):
        device.post(f"/devices/{device.id}/context", {"samples": [3]})


def test_a_damaged_page_and_a_full_disk_are_seen_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "mnet.db"
    database = Database(f"sqlite:///{path}")
    registry = Registry(database)
    for n in range(400):
        registry.enrol(f"d{n:04}", "hash" * 20, "bundle")
    health = Health(database, PackStore(f"file://{tmp_path / 'packs'}"))
    assert (health.database(), health.packs()) == ("ok", "ok")
    database.scrub()
    page = database_page_of_devices(path)
    database.close()
    with path.open("r+b") as file:
        file.seek(page)
        file.write(b"\xff" * 4096)
    damaged = Database(f"sqlite:///{path}")
    health = Health(damaged, PackStore(f"file://{tmp_path / 'packs'}"))
    with pytest.raises(Exception, match="malformed"):
        for n in range(400):
            Registry(damaged).known(f"d{n:04}")
    assert health.database() == "damaged"
    damaged.close()
    full = Database(f"sqlite:///{tmp_path / 'full.db'}")
    with full.reading() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        connection.detach()
    full.close()
    shutil.rmtree(tmp_path / "packs")
    (tmp_path / "packs").write_text("no folder any more")
    with caplog.at_level(logging.WARNING):
        assert health.packs() == "unreachable"
    assert "the store of packs takes nothing: StoreAway: NotADirectoryError" in caplog.text


def database_page_of_devices(path: Path) -> int:
    """Where the root page of the devices lies in the file."""
    with sqlite3.connect(path) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'devices'").fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    connection.close()
    return int((page - 1) * size)


def test_no_new_signing_key_where_phones_trust_another(tmp_path: Path, mnet: Mnet) -> None:
    state = ServerState.open(tmp_path / "server")
    database = Database(state.database_url())
    trusted_key(database, state.read_keys().keyring)
    Registry(database).enrol("phone", "hash", "bundle")
    kept = tmp_path / "kept"
    shutil.copytree(state.keys, kept)
    state.signing_key.unlink()
    code, _, stderr = mnet("keys", "create", "--state", state.folder)  # as `mnet serve` opens it
    assert (code, "1 phones of the database trust no other key" in stderr.replace("\n", " ")) == (2, True)
    with pytest.raises(UserError, match="1 phones of the database trust no other key"):
        ServerState.open(state.folder, state.database_url())
    assert not state.signing_key.exists()
    other = ServerState.open(tmp_path / "other")
    with pytest.raises(UserError, match="the 1 phones of this database trust the signing key"):
        trusted_key(database, other.read_keys().keyring)
    shutil.copy(kept / "signing.pem", state.signing_key)
    rotate(state.keys)
    trusted_key(database, state.read_keys().keyring)  # the one before vouches for it
    retire(state.keys)
    trusted_key(database, state.read_keys().keyring)
    database.close()
