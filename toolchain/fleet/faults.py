"""Faults on purpose: phones with real sessions, a real server, and what each fault cost them.

For each fault, every phone uploads a context and looks for its weights while the fault lasts, infers, and then has to
reach the newest version once it is over; after that each phone is restarted from its folder.
"""

import random
import resource
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
import torch
from torch import Tensor

from export.bundle import Bundle
from export.errors import Refused
from toolchain.cloud.keys import read_key
from toolchain.cloud.publishing import RELEASE_LIFETIME_S
from toolchain.fleet.bad_network import BadNetwork, Trouble
from toolchain.fleet.client import CloudClient, Denied, Offline
from toolchain.fleet.phone import Phone
from toolchain.fleet.processes import ServerProcess
from toolchain.fleet.replay import recommender
from toolchain.training.run import Run

SAMPLES = 20
POLL_S = 2.0
PATIENCE_S = 60.0  # until an accepted upload counts as lost


@dataclass
class Outcome:
    """What one fault cost.

    `met`: how often the phones met what while it lasted. `lost`: uploads that were accepted and gave no weights.
    `wrong`: inferences whose outputs were not those of the version that they were of, and `backwards`: versions lower
    than the one before; both while it lasted, after it, and after a restart of the phones that followed. `back_s`:
    until every phone ran its newest weights, from the end of the fault on, the restart of a server included.
    """

    fault: str
    met: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    wrong: int = 0
    backwards: int = 0
    back_s: float = 0.0

    @property
    def harmless(self) -> bool:
        """Whether nothing was lost, and nothing but good weights ever answered."""
        return self.lost == self.wrong == self.backwards == 0


class _Handset:
    """One phone, its folder and clock, and what it must answer under each version."""

    def __init__(self, bundle: Bundle, folder: Path, clock: Callable[[], float]) -> None:
        self._bundle, self._folder, self._clock = bundle, folder, clock
        self._answers: dict[int, Tensor] = {}
        self._newest = 0
        self.wanted = 0
        self.told = Counter[str]()
        self.start()

    def start(self) -> None:
        """Start it, anew, from its folder."""
        self.phone = Phone(self._bundle, self._folder, self._hear, self._clock)

    def ask(self, client: CloudClient, context: list[int]) -> None:
        """Upload, and look for what comes of it; trouble is counted in `told`."""
        self._try(lambda: self._upload(client, context))
        self.look(client)

    def look(self, client: CloudClient) -> None:
        """One poll."""
        self._try(lambda: self._poll(client))

    def answers(self, outcome: Outcome) -> None:
        """Infer: the live version must be no lower than before, and answer as it always did."""
        live = self.phone.live
        with torch.inference_mode():
            output = live.run(self._bundle.golden.inputs[0])[0].clone()
        known = self._answers.setdefault(live.version, output)
        outcome.wrong += not torch.equal(known, output)
        outcome.backwards += live.version < self._newest
        self._newest = max(self._newest, live.version)

    def _upload(self, client: CloudClient, context: list[int]) -> None:
        self.wanted = self.phone.upload(client, context)
        self.told["accepted"] += 1

    def _poll(self, client: CloudClient) -> None:
        swapped = self.phone.poll(client, POLL_S)
        self.told["swapped" if swapped else "nothing yet"] += 1

    def _try(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Offline:
            self.told["offline"] += 1
        except Denied as denial:
            self.told[f"HTTP {denial.status}"] += 1
        except Refused as refusal:
            self.told[f"refused: {refusal.reason}"] += 1

    def _hear(self, event: str, **_fields: Any) -> None:
        if event == "not_persisted":
            self.told["not kept"] += 1


class Trial:
    """A server, a bad network and phones behind it, in folders below `folder`; use it as a context manager."""

    def __init__(self, run: Run, bundle: Bundle, folder: Path, phones: int, seed: int) -> None:
        self._run, self._bundle, self._folder = run, bundle, folder
        self._items = recommender(run).n_items
        self._draw = random.Random(seed)  # noqa: S311 (no secret)
        self._seed, self._count = seed, phones
        self._skew_s = 0.0
        self._running = ExitStack()
        self.faults: dict[str, Callable[[], AbstractContextManager[None]]] = {
            "none": lambda: self._network("none"),
            "server killed": self._server_killed,
            "network down": lambda: self._network("down"),
            "cut mid-pack": lambda: self._network("cut"),
            "corrupt packs": lambda: self._network("corrupt"),
            "slow clients": lambda: self._network("slow"),
            "clock ahead": lambda: self._skewed(2 * RELEASE_LIFETIME_S),
            "clock behind": lambda: self._skewed(-2 * RELEASE_LIFETIME_S),
            "disk full": _disk_full,
        }

    def __enter__(self) -> "Trial":
        self._server = self._serve(port=0)
        self._relay = self._running.enter_context(BadNetwork(self._port, self._seed))
        self._client = self._running.enter_context(CloudClient(self._relay.url))
        self._handsets = [
            _Handset(self._bundle, self._folder / f"phone-{n}", self._clock) for n in range(self._count)
        ]
        for handset in self._handsets:
            handset.phone.enrol(self._client, read_key(self._server.enrolment_key))
        return self

    def __exit__(self, *_error: object) -> None:
        self._running.close()
        self._server.stop()

    def outcome(self, fault: str) -> Outcome:
        """Let the fault happen."""
        outcome = Outcome(fault)
        for handset in self._handsets:
            handset.told = outcome.met
        with self.faults[fault]():
            for handset in self._handsets:
                handset.ask(self._client, self._context())
                handset.answers(outcome)
            over = time.monotonic()
        for handset in self._handsets:
            handset.told = Counter()  # what is met from here on is no more the fault's
            self._settle(handset, outcome)
        outcome.back_s = time.monotonic() - over
        for handset in self._handsets:
            handset.start()
            self._settle(handset, outcome)
        return outcome

    def _settle(self, handset: _Handset, outcome: Outcome) -> None:
        """Until it runs what its last accepted upload gives."""
        end = time.monotonic() + PATIENCE_S
        while handset.phone.version < handset.wanted and time.monotonic() < end:
            handset.look(self._client)
        outcome.lost += handset.phone.version < handset.wanted
        handset.answers(outcome)

    def _context(self) -> list[int]:
        return [self._draw.randint(1, self._items) for _ in range(SAMPLES)]

    def _clock(self) -> float:
        return time.time() + self._skew_s

    @property
    def _port(self) -> int:
        return int(self._server.url.rpartition(":")[2])

    def _serve(self, port: int) -> ServerProcess:
        return ServerProcess(self._run.path, self._bundle.path, self._folder / "server", port)

    @contextmanager
    def _server_killed(self) -> Iterator[None]:
        """Killed with uploads accepted whose weights nobody has fetched yet."""
        for handset in self._handsets:
            handset.wanted = handset.phone.upload(self._client, self._context())
        port = self._port
        self._server.kill()
        yield
        self._server = self._serve(port)

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
        [
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
