"""Faults on purpose: phones with real sessions, a real server, and what each fault cost them.

For each fault, every phone uploads a context, unless it awaits what was accepted before, and looks for its weights
while the fault lasts, infers, and then has to reach the newest version once it is over; after that each phone is
restarted from its folder.
"""

import random
import resource
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from export.bundle import Bundle
from toolchain.cloud.keys import read_key
from toolchain.cloud.publishing import RELEASE_LIFETIME_S
from toolchain.errors import UserError
from toolchain.fleet.bad_network import BadNetwork, Trouble
from toolchain.fleet.client import CloudClient
from toolchain.fleet.handset import Handset
from toolchain.fleet.postgres import PostgresServer
from toolchain.fleet.processes import ServerProcess
from toolchain.fleet.replay import recommender
from toolchain.training.run import Run

SAMPLES = 20
PATIENCE_S = 60.0  # until an accepted upload counts as lost
_ON_POSTGRES = ("database restarted", "one of two replicas killed")


@dataclass
class Outcome:
    """What one fault cost.

    `met`: how often the phones met what while it lasted. `lost`: uploads that were accepted and gave no weights.
    `wrong`: inferences whose outputs were not those of the version that they were of, and `backwards`: versions lower
    than the one before; both while it lasted, after it, and after a restart of the phones that followed. `back_s`:
    until every phone ran its newest weights, from the end of the fault on, the restart of a server included.
    `skipped`: why it did not happen here.
    """

    fault: str
    met: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    wrong: int = 0
    backwards: int = 0
    back_s: float = 0.0
    skipped: str | None = None

    @property
    def harmless(self) -> bool:
        """Whether nothing was lost, and nothing but good weights ever answered."""
        return self.lost == self.wrong == self.backwards == 0


class Trial:
    """A server, a bad network and phones behind it, in folders below `folder`; use it as a context manager.

    Where PostgreSQL can be run the server stands on one, else on SQLite; `lacks` says why.
    """

    def __init__(self, run: Run, bundle: Bundle, folder: Path, phones: int, seed: int) -> None:
        self._run, self._bundle, self._folder = run, bundle, folder
        self._items = recommender(run).n_items
        self._draw = random.Random(seed)  # noqa: S311 (no secret)
        self._seed, self._count = seed, phones
        self._skew_s = 0.0
        self.lacks: str | None = None
        self.faults: dict[str, Callable[[], AbstractContextManager[None]]] = {
            "none": lambda: self._network("none"),
            "server killed": self._server_killed,
            "database restarted": self._database_restarted,
            "one of two replicas killed": self._replica_killed,
            "network down": lambda: self._network("down"),
            "cut mid-pack": lambda: self._network("cut"),
            "corrupt packs": lambda: self._network("corrupt"),
            "slow clients": lambda: self._network("slow"),
            "clock ahead": lambda: self._skewed(2 * RELEASE_LIFETIME_S),
            "clock behind": lambda: self._skewed(-2 * RELEASE_LIFETIME_S),
            "disk full": _disk_full,
        }

    def __enter__(self) -> "Trial":
        with ExitStack() as running:
            self._options = ["--packs", f"file://{self._folder}/packs"]
            try:
                self._postgres = running.enter_context(PostgresServer())
                self._options += ["--database", self._postgres.new_database()]
            except UserError as missing:
                self.lacks = str(missing)
            self._server = self._serve("server")
            running.callback(lambda: self._server.stop())
            self._relay = running.enter_context(BadNetwork(self._port, self._seed))
            self._client = running.enter_context(CloudClient(self._relay.url))
            self._handsets = [
                Handset(self._bundle, self._folder / f"phone-{n}", self._clock) for n in range(self._count)
            ]
            for handset in self._handsets:
                handset.phone.enrol(self._client, read_key(self._server.enrolment_key))
            self._running = running.pop_all()
        return self

    def __exit__(self, *_error: object) -> None:
        self._running.close()

    def outcome(self, fault: str) -> Outcome:
        """Let the fault happen."""
        outcome = Outcome(fault)
        if self.lacks and fault in _ON_POSTGRES:
            outcome.skipped = self.lacks
            return outcome
        for handset in self._handsets:
            handset.told = outcome.met
        with self.faults[fault]():
            for handset in self._handsets:
                handset.ask(self._client, self._context())
                self._infer(handset, outcome)
            over = time.monotonic()
        for handset in self._handsets:
            handset.told = Counter()  # what is met from here on is no more the fault's
            self._settle(handset, outcome)
        outcome.back_s = time.monotonic() - over
        for handset in self._handsets:
            handset.start()
            self._settle(handset, outcome)
        return outcome

    def _settle(self, handset: Handset, outcome: Outcome) -> None:
        """Until it runs what its last accepted upload gives."""
        end = time.monotonic() + PATIENCE_S
        while handset.phone.version < handset.wanted and time.monotonic() < end:
            handset.look(self._client)
        outcome.lost += handset.phone.version < handset.wanted
        self._infer(handset, outcome)

    def _infer(self, handset: Handset, outcome: Outcome) -> None:
        wrong, fell = handset.answers()
        outcome.wrong += wrong
        outcome.backwards += fell

    def _context(self) -> list[int]:
        return [self._draw.randint(1, self._items) for _ in range(SAMPLES)]

    def _clock(self) -> float:
        return time.time() + self._skew_s

    @property
    def _port(self) -> int:
        return int(self._server.url.rpartition(":")[2])

    def _serve(self, state: str, port: int = 0) -> ServerProcess:
        return ServerProcess(self._run.path, self._bundle.path, self._folder / state, port, self._options)

    def _accepted(self) -> None:
        """Uploads whose weights nobody has fetched yet."""
        for handset in self._handsets:
            handset.upload(self._client, self._context())

    @contextmanager
    def _server_killed(self) -> Iterator[None]:
        self._accepted()
        port = self._port
        self._server.kill()
        yield
        self._server = self._serve("server", port)

    @contextmanager
    def _database_restarted(self) -> Iterator[None]:
        """Away while the fault lasts."""
        self._accepted()
        self._postgres.kill()
        yield
        self._postgres.start()

    @contextmanager
    def _replica_killed(self) -> Iterator[None]:
        """The other one has to answer what the killed one accepted."""
        shutil.copytree(self._folder / "server" / "keys", self._folder / "replica" / "keys")
        replica = self._serve("replica")
        self._accepted()
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


def fault_rows(outcomes: list[Outcome]) -> list[list[str]]:
    """The table for people: fault, met, lost, wrong, backwards, back."""
    return [
        [outcome.fault, f"skipped: {outcome.skipped}", *"----"]
        if outcome.skipped
        else [
            outcome.fault,
            ", ".join(f"{count} {what}" for what, count in outcome.met.most_common()),
            *(str(count) for count in (outcome.lost, outcome.wrong, outcome.backwards)),
            f"{outcome.back_s:.1f}",
        ]
        for outcome in outcomes
    ]


def fault_report(outcomes: list[Outcome]) -> list[dict[str, Any]]:
    """The same as JSON."""
    return [{**vars(outcome), "met": dict(outcome.met)} for outcome in outcomes]


def plot_faults(outcomes: list[Outcome], file: Path) -> None:
    """A bar a fault: how long until every phone ran its newest weights."""
    figure, panel = plt.subplots(figsize=(6, 3.2), layout="constrained")
    colours = ["tab:blue" if outcome.harmless else "tab:red" for outcome in outcomes]
    panel.barh([outcome.fault for outcome in outcomes], [o.back_s for o in outcomes], color=colours)
    panel.invert_yaxis()
    panel.set(xlabel="s from the end of the fault until every phone runs its newest weights")
    figure.savefig(file, dpi=120)
    plt.close(figure)
