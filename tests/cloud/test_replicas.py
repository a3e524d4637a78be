"""Two replicas that share a PostgreSQL and an S3 bucket, and nothing else."""

import itertools
import shutil
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from export.bundle import Bundle
from export.packs import pack_digest
from tests.cloud.callers import Caller, Device, enrol, operator
from tests.cloud.postgres import postgres_server
from toolchain.fleet.postgres import PostgresServer
from toolchain.fleet.processes import ServerProcess

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
    accepted: dict[str, list[int]] = {device.id: [] for device in devices}
    some, failures = threading.Event(), list[BaseException]()

    def upload(phone: Device) -> None:
        """Alternate between the replicas; after an error go on with the other one."""
        try:
            for turn in range(UPLOADS):
                samples = {"samples": [turn + 1, 7, 8]}
                for http in (https[turn % 2], https[1]):
                    try:
                        answer = at(phone, http).post(f"/devices/{phone.id}/context", samples)
                    except httpx.TransportError:
                        continue
                    assert answer.status_code == 202, answer.text
                    accepted[phone.id].append(answer.json()["version"])
                    break
                if turn == UPLOADS // 3:
                    some.set()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=upload, args=(device,)) for device in devices]
    for thread in threads:
        thread.start()
    assert some.wait(120)
    doomed.kill()
    for thread in threads:
        thread.join()
    assert failures == []
    for device in devices:
        versions = accepted[device.id]
        assert versions == sorted(set(versions))
        assert len(versions) == UPLOADS
        here, seen = at(device, https[1]), [0]
        while seen[-1] < versions[-1]:
            seen.append(here.release(bundle.id, after=seen[-1], timeout=60).version)
        release = here.release(bundle.id)
        assert pack_digest(here.get(f"/packs/{release.sha256}").content) == release.sha256


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
    pushed = operator(https[1], servers[1]).post("/push", {}).json()
    assert device.release(bundle.id, after=version).version == pushed["versions"][device.id]
    told = Caller(https[0], servers[0].operator_key.read_text().strip()).get("/audit").json()
    assert told[0]["action"] == "pushed"


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
