"""Two replicas that share a PostgreSQL and an S3 bucket, and nothing else."""

import itertools
import shutil
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from mnet.export.format.bundle import Bundle
from mnet.toolchain.fleet.postgres import PostgresServer
from mnet.toolchain.fleet.processes import ServerProcess
from tests.cloud.callers import Caller, Device, catch_up, enrol, operator, upload_under
from tests.cloud.postgres import postgres_server

DEVICES, UPLOADS = 6, 12


class Shared:
    """What replicas have in common, and the making of one."""

    def __init__(self, run: Path, bundle: Path, folder: Path, postgres: PostgresServer) -> None:
        self._arguments = run, bundle
        self._folder = folder
        packs = f"s3://fleet/{folder.name}"
        self._options = ["--database", postgres.new_database(), "--packs", packs, "--uploads", "1000000"]
        self._count = itertools.count()

    def replica(self) -> ServerProcess:
        """A further one, with the keys of the first: they are given to each, as a mounted secret is."""
        state = self._folder / f"replica-{next(self._count)}"
        first = self._folder / "replica-0" / "keys"
        if first.is_dir():
            shutil.copytree(first, state / "keys")
        return ServerProcess(*self._arguments, state, options=self._options)


@pytest.fixture
def shared(tiny_run: Path, tiny_bundle: Path, tmp_path: Path, postgres: PostgresServer, s3: str) -> Shared:
    return Shared(tiny_run, tiny_bundle, tmp_path, postgres)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def connect(stack: ExitStack, server: ServerProcess) -> httpx.Client:
    return stack.enter_context(httpx.Client(base_url=f"{server.url}/v1", timeout=60))


def at(device: Device, http: httpx.Client) -> Device:
    """The same phone, calling another replica."""
    return Device(http, {"device": device.id, "token": device.token, "keys": device.keys})


def test_a_replica_is_killed_under_load(shared: Shared, tiny_bundle: Path, stack: ExitStack) -> None:
    """No upload that was accepted is lost, and no phone ever sees a version go backwards."""
    bundle = Bundle.load(tiny_bundle)
    doomed = stack.enter_context(shared.replica())
    survivor = stack.enter_context(shared.replica())
    https = [connect(stack, doomed), connect(stack, survivor)]
    devices = [enrol(https[n % 2], doomed, bundle) for n in range(DEVICES)]

    def upload(phone: Device, turn: int) -> httpx.Response:
        """Alternate between the replicas; after an error go on with the other one."""
        path, body = f"/devices/{phone.id}/context", {"samples": [turn + 1, 7, 8]}
        try:
            return at(phone, https[turn % 2]).post(path, body)
        except httpx.TransportError:
            return at(phone, https[1]).post(path, body)

    answered = upload_under(doomed.kill, devices, UPLOADS, upload)
    for device in devices:
        catch_up(at(device, https[1]), bundle.id, answered[device.id][-1])


def test_a_phone_that_waits_at_one_replica_hears_of_the_other(
    shared: Shared, tiny_bundle: Path, stack: ExitStack
) -> None:
    bundle = Bundle.load(tiny_bundle)
    servers = [stack.enter_context(shared.replica()) for _ in range(2)]
    https = [connect(stack, server) for server in servers]
    device = enrol(https[0], servers[0], bundle)
    found: list[int] = []
    poll = threading.Thread(
        target=lambda: found.append(at(device, https[1]).release(bundle.id, timeout=60).version)
    )
    poll.start()
    version = device.upload([3, 1, 4])
    poll.join(60)
    assert found == [version]
    # An operator's call reaches the fleet through any of them, and any tells what became of it.
    operator(https[1], servers[1]).post("/push", {})
    assert device.release(bundle.id, after=version).version == version + 1
    audit = Caller(https[0], servers[0].operator_key.read_text().strip()).get("/audit").json()
    assert audit[0]["action"] == "pushed"


def test_a_database_that_is_restarted_costs_retries_and_nothing_else(
    tiny_run: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    bundle = Bundle.load(tiny_bundle)
    with (
        postgres_server() as postgres,
        ServerProcess(
            tiny_run, tiny_bundle, tmp_path / "server", options=["--database", postgres.new_database()]
        ) as server,
        httpx.Client(base_url=f"{server.url}/v1", timeout=60) as http,
    ):
        device = enrol(http, server, bundle)
        version = device.upload([1, 2])
        assert device.release(bundle.id).version == version
        postgres.kill()
        away = device.post(f"/devices/{device.id}/context", {"samples": [3]})
        assert (away.status_code, away.json()) == (503, {"detail": "the database is not available"})
        assert http.get("/healthz").json()["database"] == "unreachable"
        postgres.start()
        again = device.upload([3])
        assert again == version + 1
        assert device.release(bundle.id, after=version).version == again
        assert http.get("/healthz").status_code == 200
