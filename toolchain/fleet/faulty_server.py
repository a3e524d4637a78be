"""A local server behind a bad network, and the faults that can be done to it and to its phones."""

import random
import resource
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from mnet.toolchain.cloud.publishing import RELEASE_LIFETIME_S
from mnet.toolchain.errors import UserError
from mnet.toolchain.fleet.bad_network import BadNetwork, Trouble
from mnet.toolchain.fleet.postgres import PostgresServer
from mnet.toolchain.fleet.processes import ServerProcess

CALM = "none"
FAULTS = (
    "server killed",
    "database restarted",
    "one of two replicas killed",
    "network down",
    "cut mid-pack",
    "corrupt packs",
    "slow clients",
    "clock ahead",
    "clock behind",
    "disk full",
)
_ON_POSTGRES = ("database restarted", "one of two replicas killed")
_NETWORK: dict[str, Trouble] = {
    CALM: "none",
    "network down": "down",
    "cut mid-pack": "cut",
    "corrupt packs": "corrupt",
    "slow clients": "slow",
}
_SKEW_S = {"clock ahead": 2 * RELEASE_LIFETIME_S, "clock behind": -2 * RELEASE_LIFETIME_S}


def chosen_faults(names: Sequence[str]) -> list[str]:
    """The faults of these names, each once; `all` is every one. Raises UserError."""
    for name in names:
        if name not in (*FAULTS, "all"):
            raise UserError(f"--faults {name}: expected all, or one of {', '.join(FAULTS)}")
    return list(FAULTS) if "all" in names else list(dict.fromkeys(names))


def spread(faults: Sequence[str], rounds: int, seed: int) -> dict[int, str]:
    """Which fault happens in which of `rounds` rounds: evenly, in seeded order, none in the first round."""
    if len(faults) >= rounds:
        raise UserError(f"{len(faults)} faults need at least {len(faults) + 1} chances; there are {rounds}")
    order = random.Random(seed).sample(faults, len(faults))  # noqa: S311 (no secret)
    return {(n + 1) * rounds // (len(order) + 1): fault for n, fault in enumerate(order)}


class FaultyServer:
    """A real server process and the bad network before it, in folders below `folder`; use it as a context manager.

    Where PostgreSQL can be run the server stands on one, else on SQLite; `lacks` says why. Phones reach it at `url`,
    take `clock` for their own, and enrol with the key in the file `enrolment_key`.
    """

    def __init__(self, run: Path, bundle: Path, folder: Path, seed: int) -> None:
        self._run, self._bundle, self._folder, self._seed = run, bundle, folder, seed
        self._skew_s = 0.0
        self.lacks: str | None = None

    def __enter__(self) -> Self:
        with ExitStack() as running:
            # Phones that are replayed ask more often than people do.
            self._options = ["--packs", f"file://{self._folder}/packs", "--uploads", "1000000"]
            try:
                self._postgres = running.enter_context(PostgresServer())
                self._options += ["--database", self._postgres.new_database()]
            except UserError as missing:
                self.lacks = str(missing)
            self._server = self._serve("server")
            running.callback(lambda: self._server.stop())
            self._relay = running.enter_context(BadNetwork(self._port, self._seed))
            self.url = self._relay.url
            self._running = running.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.close()

    @property
    def stands_on(self) -> str:
        """The database, for people."""
        return f"SQLite ({self.lacks})" if self.lacks else "PostgreSQL"

    @property
    def enrolment_key(self) -> Path:
        """The file of the server's enrolment key."""
        return self._server.enrolment_key

    def clock(self) -> float:
        """What time phones take it to be, in Unix seconds."""
        return time.time() + self._skew_s

    def skips(self, fault: str) -> str | None:
        """Why this fault cannot happen here; None where it can."""
        return self.lacks if fault in _ON_POSTGRES else None

    def fault(self, name: str, accepted: Callable[[], None]) -> AbstractContextManager[None]:
        """A fault that lasts through a `with` block; all is repaired when that ends.

        `accepted` uploads what a server or a database that is killed shall have accepted, and nobody fetched.
        """
        if name == "server killed":
            return self._server_killed(accepted)
        if name == "database restarted":
            return self._database_restarted(accepted)
        if name == "one of two replicas killed":
            return self._replica_killed(accepted)
        if name == "disk full":
            return _disk_full()
        return self._skewed(_SKEW_S[name]) if name in _SKEW_S else self._network(_NETWORK[name])

    @property
    def _port(self) -> int:
        return int(self._server.url.rpartition(":")[2])

    def _serve(self, state: str, port: int = 0) -> ServerProcess:
        return ServerProcess(self._run, self._bundle, self._folder / state, port, self._options)

    @contextmanager
    def _server_killed(self, accepted: Callable[[], None]) -> Iterator[None]:
        accepted()
        port = self._port
        self._server.kill()
        # Nobody may knock at the free port: on loopback, one try in 28,000 connects to itself and occupies it.
        with self._network("down"):
            yield
            self._server = self._serve("server", port)

    @contextmanager
    def _database_restarted(self, accepted: Callable[[], None]) -> Iterator[None]:
        """Away while the fault lasts."""
        accepted()
        self._postgres.kill()
        yield
        self._postgres.start()

    @contextmanager
    def _replica_killed(self, accepted: Callable[[], None]) -> Iterator[None]:
        """The other one has to answer what the killed one accepted."""
        shutil.copytree(self._folder / "server" / "keys", self._folder / "replica" / "keys")
        replica = self._serve("replica")
        accepted()
        self._server.kill()
        self._server = replica
        self._relay.port = self._port
        yield

    @contextmanager
    def _network(self, trouble: Trouble) -> Iterator[None]:
        self._relay.trouble = trouble
        yield
        self._relay.trouble = "none"

    @contextmanager
    def _skewed(self, seconds: float) -> Iterator[None]:
        self._skew_s = seconds
        yield
        self._skew_s = 0.0


@contextmanager
def _disk_full() -> Iterator[None]:
    """No file of this process may grow beyond nothing, which the phones' folders then cannot either."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
