"""Faults on purpose: phones with real sessions, a real server, and what each fault cost them.

For each fault, every phone uploads a context, unless it awaits what was accepted before, and looks for its weights
while the fault lasts, infers, and then has to reach the newest version once it is over; after that each phone is
restarted from its folder.
"""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from mnet.export.bench.pictures import BLUE, RED, picture
from mnet.export.format.bundle import Bundle
from mnet.toolchain.cloud.signing_keys import read_key
from mnet.toolchain.fleet.counted_phone import CountedPhone
from mnet.toolchain.fleet.faulty_server import CALM, FAULTS, FaultyServer
from mnet.toolchain.phone.client import CloudClient
from mnet.toolchain.training.run import Run

SAMPLES = 20
FAULTS_HEADER = ("fault", "phones met", "uploads lost", "wrong answers", "backwards", "back after s")


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
    """A server and phones at it, in folders below `folder`; use it as a context manager."""

    faults = (CALM, *FAULTS)

    def __init__(self, run: Run, bundle: Bundle, folder: Path, phones: int, seed: int) -> None:
        self._bundle, self._folder, self._count = bundle, folder, phones
        self._task = run.task
        self._draw = np.random.default_rng(seed)
        self._server = FaultyServer(run.path, bundle.path, folder, seed)

    def __enter__(self) -> "Trial":
        with ExitStack() as running:
            server = running.enter_context(self._server)
            self._client = running.enter_context(CloudClient(server.url))
            self._phones = [
                CountedPhone(self._bundle, self._folder / f"phone-{n}", server.clock)
                for n in range(self._count)
            ]
            for counted in self._phones:
                counted.phone.enrol(self._client, read_key(server.enrolment_key))
            self._running = running.pop_all()
        return self

    def __exit__(self, *_error: object) -> None:
        self._running.close()

    @property
    def lacks(self) -> str | None:
        """Why there is no PostgreSQL; None where there is."""
        return self._server.lacks

    def outcome(self, fault: str) -> Outcome:
        """Let the fault happen."""
        outcome = Outcome(fault, skipped=self._server.skips(fault))
        if outcome.skipped:
            return outcome
        for counted in self._phones:
            counted.met = outcome.met
        with self._server.fault(fault, self._accepted):
            for counted in self._phones:
                if not counted.waits:
                    counted.upload(self._client, self._context())
                counted.look(self._client)
                self._infer(counted, outcome)
            over = time.monotonic()
        for counted in self._phones:
            counted.met = Counter()  # what is met from here on is no more the fault's
            self._settle(counted, outcome)
        outcome.back_s = time.monotonic() - over
        for counted in self._phones:
            counted.start()
            self._settle(counted, outcome)
        return outcome

    def _settle(self, counted: CountedPhone, outcome: Outcome) -> None:
        """Until it runs what its last accepted upload gives."""
        counted.settle(self._client)
        outcome.lost += counted.waits
        self._infer(counted, outcome)

    def _infer(self, counted: CountedPhone, outcome: Outcome) -> None:
        wrong, fell = counted.answers()
        outcome.wrong += wrong
        outcome.backwards += fell

    def _context(self) -> list[Any]:
        return self._task.example_samples(SAMPLES, self._draw)

    def _accepted(self) -> None:
        """Uploads whose weights nobody has fetched yet."""
        for counted in self._phones:
            counted.upload(self._client, self._context())


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


def read_outcomes(report: Sequence[Mapping[str, Any]]) -> list[Outcome]:
    """The outcomes that `fault_report` wrote."""
    names = [field.name for field in fields(Outcome)]
    return [Outcome(**{name: row[name] for name in names} | {"met": Counter(row["met"])}) for row in report]


def fault_report(outcomes: list[Outcome]) -> list[dict[str, Any]]:
    """The same as JSON."""
    return [{**vars(outcome), "met": dict(outcome.met)} for outcome in outcomes]


def plot_faults(outcomes: list[Outcome], file: Path) -> None:
    """A bar a fault: how long until every phone ran its newest weights; red where phones were harmed."""
    with picture(file, size=(8, 1.2 + 0.3 * len(outcomes))) as panels:
        panel = panels[0][0]
        shades = [BLUE if outcome.harmless else RED for outcome in outcomes]
        panel.barh([outcome.fault for outcome in outcomes], [o.back_s for o in outcomes], color=shades)
        panel.invert_yaxis()
        panel.grid(visible=False, axis="y")
        panel.set(xlabel="s from the end of the fault until every phone runs its newest weights")
