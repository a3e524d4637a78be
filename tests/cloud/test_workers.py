"""`mnet serve --workers 2`: processes that share a socket, an SQLite or PostgreSQL, and the packs."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from mnet.export.format.bundle import Bundle
from mnet.toolchain.cloud.signing_keys import rotate
from mnet.toolchain.cloud.workers import _Worker
from mnet.toolchain.fleet.processes import ProcessEnded, ServerProcess
from mnet.toolchain.spawn import CONTEXT
from tests.cloud.callers import Device, catch_up, enrol, upload_under

WORKERS, DEVICES, UPLOADS = 2, 4, 15


@contextmanager
def fresh(server: ServerProcess) -> Iterator[httpx.Client]:
    """A client with a new connection for each request, to whichever worker takes it."""
    limits = httpx.Limits(max_keepalive_connections=0)
    with httpx.Client(base_url=f"{server.url}/v1", timeout=60, limits=limits) as http:
        yield http


def workers(server: ServerProcess) -> set[int]:
    """The process ids of the workers, from /proc."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue  # gone
        if parent == server.process.pid and b"spawn_main" in command:
            found.add(int(folder.name))
    return found


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def metric(server: ServerProcess, name: str) -> float:
    lines = httpx.get(f"{server.url}/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))


def test_a_worker_is_killed_under_load(
    tiny_run: Path, tiny_bundle: Path, tmp_path: Path, database_url: str
) -> None:
    """No accepted upload is lost, no version goes back, another worker takes the place, and all count together."""
    bundle = Bundle.load(tiny_bundle)
    options = ["--workers", str(WORKERS), "--database", database_url, "--uploads", "1000000"]
    with ServerProcess(tiny_run, tiny_bundle, tmp_path / "server", options=options) as server:
        before = workers(server)
        assert len(before) == WORKERS
        with fresh(server) as http:
            devices = [enrol(http, server, bundle) for _ in range(DEVICES)]

            def upload(phone: Device, turn: int) -> httpx.Response:
                """What a kill cut off is tried again."""
                while True:
                    try:
                        return phone.post(f"/devices/{phone.id}/context", {"samples": [turn + 1, 7, 8]})
                    except httpx.TransportError:
                        continue

            answered = upload_under(lambda: os.kill(min(before), signal.SIGKILL), devices, UPLOADS, upload)
            for device in devices:
                catch_up(device, bundle.id, answered[device.id][-1])
        until(lambda: len(workers(server)) == WORKERS, "another worker takes the place")
        assert len(workers(server) & before) == WORKERS - 1
        counted = (
            'mnet_request_seconds_count{method="POST",route="/v1/devices/{device}/context",status="202"}'
        )
        assert metric(server, counted) >= DEVICES * (
            UPLOADS - 1
        )  # but for what was under way in the killed one
        assert 0 < metric(server, "mnet_releases_total") <= DEVICES * UPLOADS
        left = workers(server)
        assert server.stop() == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in left)


def test_a_signal_reaches_every_worker_and_a_phone_hears_of_each(
    tiny_run: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    bundle = Bundle.load(tiny_bundle)
    options = ["--workers", str(WORKERS)]
    with (
        ServerProcess(tiny_run, tiny_bundle, tmp_path / "server", options=options) as server,
        fresh(server) as http,
    ):
        device, found = enrol(http, server, bundle), list[int]()
        polls = [
            threading.Thread(target=lambda: found.append(device.release(bundle.id, timeout=60).version))
            for _ in range(6)
        ]
        for poll in polls:
            poll.start()
        until(lambda: metric(server, "mnet_waiting_devices") >= 1, "any worker counts a poll")
        version = device.upload([3, 1, 4])
        for poll in polls:
            poll.join(60)
        assert found == [version] * len(polls)

        rotate(server.enrolment_key.parent)
        server.process.send_signal(signal.SIGHUP)
        many = 20  # of which each worker answers some
        until(
            lambda: all(len(http.get("/keys").json()["statements"]) == 2 for _ in range(many)),
            "every worker has the new key",
        )
        server.kill()
        until(lambda: not workers(server), "workers follow their parent, even one that was killed")


def test_workers_that_cannot_start_are_one_line(tiny_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(ProcessEnded, match=r"(?s)ended with 2 before 'ready'.*error: .*nowhere"):
        ServerProcess(tmp_path / "nowhere", tiny_bundle, tmp_path / "server", options=["--workers", "2"])


def test_a_signal_to_a_worker_that_ended_just_now_ends_nothing() -> None:
    process = CONTEXT.Process(target=time.sleep, args=(0,))
    process.start()
    process.join()
    worker = _Worker.__new__(_Worker)
    worker.process, worker.ready = process, True
    worker.reload()


def test_a_server_may_have_as_many_files_open_as_the_system_lets_it() -> None:
    code = (
        "import resource as r; from mnet.toolchain.cloud.workers import allow_many_files as allow;"
        "r.setrlimit(r.RLIMIT_NOFILE, (256, 512)); allow(); print(r.getrlimit(r.RLIMIT_NOFILE))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(512, 512)"
