"""A fleet in simulation: phones of each policy in step on one server, faults, and light phones as load."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from mnet.export.format.bundle import Bundle
from mnet.toolchain.cloud.signing_keys import read_key
from mnet.toolchain.fleet.faulty_server import CALM, FaultyServer, spread
from mnet.toolchain.fleet.light_phones import room_for
from mnet.toolchain.fleet.policy_totals import PolicyTotals
from mnet.toolchain.fleet.processes import Event, LightProcess
from mnet.toolchain.fleet.replay import Fleet, Judge
from mnet.toolchain.phone.client import CloudClient
from mnet.toolchain.tasks.timeline import Timeline
from mnet.toolchain.training.run import Run

LIGHT_SAMPLES = 1000  # what light phones upload is drawn from


@dataclass(frozen=True)
class Plan:
    """What to simulate: a fleet of the same users for each policy.

    `timelines` are those of a fleet's phones; `faults` happen in seeded order, each through one round; `light` phones
    load the server meanwhile.
    """

    timelines: Sequence[Timeline]
    policies: Sequence[str]
    seed: int
    faults: Sequence[str] = ()
    light: int = 0


@dataclass
class Disturbance:
    """A fault, the turn that it began at, and what the phones of all policies met while it lasted."""

    fault: str
    turn: int
    skipped: str | None
    met: Counter[str] = field(default_factory=Counter)
    wrong: int = 0
    backwards: int = 0

    def report(self) -> dict[str, Any]:
        """The same as JSON."""
        return {**vars(self), "met": dict(self.met)}


@dataclass
class Outcome:
    """What came of a simulation; `calm` is what phones met outside of faults, `refresh` the turns of a round."""

    stands_on: str
    refresh: int
    fleets: dict[str, Fleet]
    totals: dict[str, PolicyTotals]
    disturbances: list[Disturbance] = field(default_factory=list)
    calm: Counter[str] = field(default_factory=Counter)
    light: Event | None = None

    @property
    def harmless(self) -> bool:
        """Whether nothing was lost, and nothing but good weights ever answered."""
        return not any(fleet.lost or fleet.wrong or fleet.backwards for fleet in self.fleets.values())


Report = Callable[[Event], None]


def simulate(
    run: Run,
    bundle: Bundle,
    plan: Plan,
    report: Report,
    progress: Callable[[int, int], None],
    server: tuple[str, Path] | None = None,
) -> Outcome:
    """Simulate on a local server, or on the `server` with this URL and enrolment key file.

    `report` is called with each event, `progress` with the rounds done and the rounds of all. Raises UserError.
    """
    judge = Judge(run)
    with ExitStack() as running:
        folder = Path(running.enter_context(TemporaryDirectory(prefix="mnet-fleet-")))
        faulty_server = None if server else FaultyServer(run.path, bundle.path, folder / "server", plan.seed)
        clock = {"clock": faulty_server.clock} if faulty_server else {}
        fleets = {
            policy: Fleet(judge, bundle, policy, plan.timelines, folder / policy, **clock)
            for policy in plan.policies
        }
        rounds = -(-max(fleet.turns for fleet in fleets.values()) // judge.task.refresh)
        faults = spread(plan.faults, rounds, plan.seed)
        if plan.light:
            room_for(plan.light)
        if faulty_server:
            running.enter_context(faulty_server)
            server = faulty_server.url, faulty_server.enrolment_key
        assert server is not None
        url, key = server
        client = running.enter_context(CloudClient(url))
        for fleet in fleets.values():
            fleet.enrol(client, read_key(key))
        outcome = Outcome(
            stands_on=faulty_server.stands_on if faulty_server else url,
            refresh=judge.task.refresh,
            fleets=fleets,
            totals={policy: PolicyTotals(len(plan.timelines)) for policy in fleets},
        )
        light = None
        if plan.light:
            samples = judge.task.example_samples(LIGHT_SAMPLES, np.random.default_rng(plan.seed))
            (folder / "samples.json").write_text(json.dumps(samples), encoding="utf-8")
            words = url, key, bundle.id, folder / "samples.json", plan.light, plan.seed
            light = running.enter_context(LightProcess(*words, folder / "light.log"))
        going = _Rounds(outcome, client, faulty_server, report)
        for n in range(rounds):
            progress(n, rounds)
            going.round(n * outcome.refresh, faults.get(n, CALM))
        going.settle(rounds * outcome.refresh - 1)
        outcome.light = light.result() if light else None
    return outcome


class _Rounds:
    """A round is a chance of every phone, and its predictions until the next chance."""

    def __init__(
        self, outcome: Outcome, client: CloudClient, faulty_server: FaultyServer | None, report: Report
    ) -> None:
        self._outcome, self._client, self._faulty_server, self._report = (
            outcome,
            client,
            faulty_server,
            report,
        )
        self._fleets = list(outcome.fleets.values())
        self._count_in(outcome.calm)

    def round(self, turn: int, fault: str) -> None:
        """The round from this turn on."""
        if fault == CALM:
            self._record([event for fleet in self._fleets for event in fleet.renew(turn, self._client)])
            self._record(self._predictions(turn))
        else:
            self._disturbed(turn, fault)

    def settle(self, turn: int) -> None:
        """Fetch what is waited for to the last."""
        for fleet in self._fleets:
            self._record(fleet.fetch(turn, self._client, patiently=True))

    def _disturbed(self, turn: int, fault: str) -> None:
        assert self._faulty_server is not None, "faults need a local server"
        found = Disturbance(fault, turn, self._faulty_server.skips(fault))
        self._outcome.disturbances.append(found)
        if found.skipped:
            self.round(turn, CALM)
        else:
            found.wrong -= sum(fleet.wrong for fleet in self._fleets)
            found.backwards -= sum(fleet.backwards for fleet in self._fleets)
            self._count_in(found.met)
            events = []
            with self._faulty_server.fault(fault, lambda: self._ask(turn)):
                for fleet in self._fleets:
                    fleet.ask(turn, self._client)
                    events += fleet.fetch(turn, self._client, patiently=False)
                events += self._predictions(turn)
            self._record(events)  # only now: whoever receives them may write to the disk that was full
            self._count_in(self._outcome.calm)
            found.wrong += sum(fleet.wrong for fleet in self._fleets)
            found.backwards += sum(fleet.backwards for fleet in self._fleets)
        self._report({"event": "fault", **found.report()})

    def _ask(self, turn: int) -> None:
        for fleet in self._fleets:
            fleet.ask(turn, self._client)

    def _predictions(self, turn: int) -> list[Event]:
        turns = range(turn, turn + self._outcome.refresh)
        return [event for t in turns for fleet in self._fleets for event in fleet.predict(t)]

    def _count_in(self, met: Counter[str]) -> None:
        for fleet in self._fleets:
            fleet.count_in(met)

    def _record(self, events: list[Event]) -> None:
        for event in events:
            self._outcome.totals[event["policy"]].count(event)
            self._report(event)
