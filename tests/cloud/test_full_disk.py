"""A server on real file systems that are really full: clear answers, nothing lost, and it recovers by itself."""

import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import httpx
import pytest

from mnet.export.format.bundle import Bundle
from mnet.export.format.packs import pack_digest
from mnet.toolchain.fleet.processes import ServerProcess
from tests.cloud.callers import Device, enrol, eventually, operator


class SmallDisk:
    """A file system of some MiB."""

    def __init__(self, folder: Path, mebibytes: int) -> None:
        self.folder = folder
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(folder)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        except OSError as error:
            pytest.skip(f"mount: {error}")
        if done.returncode:
            pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")

    def fill(self) -> None:
        """To the last byte."""
        with (self.folder / "ballast").open("wb", buffering=0) as file:
            for size in (2**16, 2**12, 1):
                while True:
                    try:
                        if file.write(b"x" * size) < size:
                            break
                    except OSError:
                        break

    def free(self) -> None:
        (self.folder / "ballast").unlink()

    def unmount(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.folder)], timeout=20, check=True)


@pytest.fixture
def disks(tmp_path: Path) -> Iterator[tuple[SmallDisk, SmallDisk]]:
    """One for the state, with the database in it, and one for the packs."""
    if shutil.which("mount") is None:
        pytest.skip("mount is not installed")
    with ExitStack() as mounted:
        made = []
        for name in ("state", "packs"):
            made.append(SmallDisk(tmp_path / name, 8))
            mounted.callback(made[-1].unmount)
        yield made[0], made[1]


def fetched(device: Device, bundle: Bundle, version: int) -> None:
    """The device gets that version, whole, within the time for which a replica leaves what another took."""

    def poll() -> int:
        answer = device.get(f"/devices/{device.id}/release", after=version - 1, timeout=10)
        return answer.status_code

    eventually(poll, (200).__eq__, within_s=60)
    release = device.release(bundle.id, after=version - 1)
    pack = device.get(f"/packs/{release.sha256}")
    assert (release.version, pack_digest(pack.content)) == (version, release.sha256)


def test_a_full_disk(
    tiny_run: Path, tiny_bundle: Path, tmp_path: Path, disks: tuple[SmallDisk, SmallDisk]
) -> None:
    state, packs = disks
    bundle = Bundle.load(tiny_bundle)
    options = ["--packs", f"file://{packs.folder}"]
    with (
        ServerProcess(tiny_run, tiny_bundle, state.folder / "server", options=options) as server,
        httpx.Client(base_url=f"{server.url}/v1", timeout=30) as http,
    ):
        device, boss = enrol(http, server, bundle), operator(http, server)
        fetched(device, bundle, device.upload([1, 2]))

        packs.fill()
        assert device.upload([2, 3]) == 2, "the database has room: it is accepted, and kept"
        assert device.get(f"/devices/{device.id}/release", after=1, timeout=1).status_code == 204
        assert device.release(bundle.id).version == 1, "what was made before is served"
        ready = eventually(lambda: http.get("/readyz"), lambda answer: answer.status_code == 503)
        assert ready.json()["packs"] == "unreachable"
        assert http.get("/livez").status_code == 200, "a restart would not help"
        packs.free()
        fetched(device, bundle, 2)

        state.fill()
        refused = device.post(f"/devices/{device.id}/context", {"samples": [3, 4]})
        assert (refused.status_code, refused.json()) == (503, {"detail": "the database is not available"})
        assert boss.post("/push", {}).status_code == 503
        eventually(lambda: http.get("/readyz").status_code, (503).__eq__)
        assert device.release(bundle.id).version == 2
        state.free()
        eventually(lambda: http.get("/readyz").status_code, (200).__eq__)
        pushed = boss.post("/push", {})
        assert pushed.status_code == 202, "the push that was refused did not begin"
        assert pushed.json()["rollout"] == 1
        fetched(device, bundle, 3)
        assert device.upload([3, 4]) == 4
        fetched(device, bundle, 4)
        server.kill()
        log = (state.folder / "server" / "server.log").read_text(errors="replace")
    assert "No space left on device" in log, "of the packs; the database's words had no room"
    with closing(sqlite3.connect(state.folder / "server" / "mnet.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
