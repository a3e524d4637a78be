"""Real services for the cloud to stand on (a PostgreSQL, an S3 endpoint that speaks HTTP), and its callers."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from mnet.export.format.bundle import Bundle
from mnet.toolchain.cloud.database import Database
from mnet.toolchain.cloud.ledger import Ledger
from mnet.toolchain.cloud.rollouts import Rollouts
from mnet.toolchain.fleet.postgres import PostgresServer
from mnet.toolchain.fleet.processes import ServerProcess
from tests.cloud.callers import Caller, Device, enrol
from tests.cloud.callers import operator as operator_of
from tests.cloud.postgres import postgres_server

BACKENDS = ("sqlite", "postgresql")


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One PostgreSQL for all tests; each takes a database of its own, and none stops it."""
    with postgres_server() as server:
        yield server


@pytest.fixture(params=BACKENDS)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'mnet.db'}"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.new_database()


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """The same, opened."""
    opened = Database(database_url)
    yield opened
    opened.close()


@pytest.fixture
def rollouts(database: Database, ledger: Ledger) -> Rollouts:
    """The roll-outs of the devices that a test's own `ledger` has."""
    return Rollouts(database)


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """The URL of an S3 endpoint on loopback, with a bucket named `fleet`; set in the environment of the tests."""
    moto = pytest.importorskip("moto.server", reason="moto (an S3 server) is not installed")
    fsspec = pytest.importorskip("s3fs", reason="s3fs is not installed")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        fsspec.S3FileSystem().mkdir("fleet")
        yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="session")
def bundle(tiny_bundle: Path) -> Bundle:
    """The bundle that the shared server serves."""
    return Bundle.load(tiny_bundle)


@pytest.fixture
def http(server: ServerProcess) -> Iterator[httpx.Client]:
    """A connection to the shared server."""
    with httpx.Client(base_url=f"{server.url}/v1", timeout=30) as client:
        yield client


@pytest.fixture
def operator(http: httpx.Client, server: ServerProcess) -> Caller:
    """Whoever holds the shared server's operator key."""
    return operator_of(http, server)


@pytest.fixture
def device(http: httpx.Client, server: ServerProcess, bundle: Bundle) -> Device:
    """A new phone of the shared server."""
    return enrol(http, server, bundle)
