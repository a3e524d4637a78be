"""Devices of a data set replayed on host phones: how well old and new weights predict what each of them saw next."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import monotonic, time
from typing import Any

import torch
from torch.utils._pytree import tree_leaves

from mnet.export.format.bundle import Bundle
from mnet.export.session import Snapshot
from mnet.toolchain.errors import UserError
from mnet.toolchain.fleet.counted_phone import CountedPhone
from mnet.toolchain.fleet.processes import Event
from mnet.toolchain.phone.client import CloudClient, Denied, Offline
from mnet.toolchain.phone.request_policies import RequestPolicy, request_policy
from mnet.toolchain.phone.swapped import Swapped
from mnet.toolchain.tasks import Task
from mnet.toolchain.tasks.timeline import Timeline
from mnet.toolchain.training.run import Run


class Judge:
    """Judges what the device model answers under any weights; `static` are those of the model trained alone."""

    def __init__(self, run: Run) -> None:
        self.task = run.task
        self.static = Snapshot(0, lambda inputs: tree_leaves(run.static(*inputs)))

    @torch.inference_mode()
    def values(self, timeline: Timeline, turn: int, versions: Mapping[str, Snapshot]) -> dict[str, float]:
        """The task's first metric of the answer at this turn under each version."""
        question = self.task.question(timeline, turn)
        return {name: question.value(version.run(question.inputs)) for name, version in versions.items()}


class Replayed:
    """One phone that is replayed: what its user takes, when it asks, and the weights to compare."""

    def __init__(
        self, timeline: Timeline, counted: CountedPhone, policy: RequestPolicy, static: Snapshot
    ) -> None:
        self.timeline, self.counted = timeline, counted
        self._policy = policy
        self._last_chance = -1
        self._upload_started = 0.0
        self.versions = {"static": static, "default": counted.phone.live, "live": counted.phone.live}

    def chance(self, turn: int, task: Task[Any], client: CloudClient) -> int:
        """Upload the context if the policy asks; the bytes that were accepted.

        A chance is taken once; an upload that failed is made up for at the next one.
        """
        if turn <= self._last_chance:
            return 0
        self._last_chance, started = turn, monotonic()
        context = task.uploaded(self.timeline.items[: self.timeline.start + turn])
        asked = self._policy.asks(context) and self.counted.upload(client, context)
        if asked:
            self._upload_started = started
        try:
            self._policy.went_on(context, asked=asked)
        except OSError:  # a full disk costs a needless request after the next start
            self.counted.met["not kept"] += 1
        return len(json.dumps({"samples": context}, separators=(",", ":"))) if asked else 0

    def took(self, swapped: Swapped, turn: int) -> Event:
        """What to report of a swap; `upload_to_swap_ms` is None for weights of an upload before the last one."""
        self.versions["live"] = live = self.counted.phone.live
        self.versions.setdefault("first", live)
        waited = None if self.counted.waits else (swapped.at - self._upload_started) * 1e3
        return {
            "event": "swapped",
            "user": self.timeline.user,
            "turn": turn,
            "version": swapped.version,
            "bytes": swapped.bytes,
            "swap_us": swapped.swap_us,
            "upload_to_swap_ms": waited,
        }


class Fleet:
    """Phones of one policy, each with an identity, weights and a folder of its own, replayed in step with each other.

    At a chance each whose policy asks uploads its context and swaps in what comes back. Each next sample is predicted
    on the phone under `default` (the shipped weights), `first` (the first push, never renewed) and `live`; and by
    `static`, the device model trained alone, in eager PyTorch.
    """

    def __init__(
        self,
        judge: Judge,
        bundle: Bundle,
        policy: str,
        timelines: Sequence[Timeline],
        folder: Path,
        clock: Callable[[], float] = time,
    ) -> None:
        self.policy = policy
        self._judge = judge
        self.phones = []
        for timeline in timelines:
            state = folder / str(timeline.user)
            counted = CountedPhone(bundle, state, clock)
            asking = request_policy(policy, bundle, state)
            self.phones.append(Replayed(timeline, counted, asking, judge.static))
        self.turns = max(timeline.turns for timeline in timelines)
        self.requests = self.context_bytes = self.wrong = self.backwards = 0

    def enrol(self, client: CloudClient, key: str) -> None:
        """Make all known to the server. Raises UserError."""
        try:
            for replayed in self.phones:
                replayed.counted.phone.enrol(client, key)
        except (Offline, Denied) as error:
            raise UserError(f"the phones cannot enrol: {error}") from error

    def count_in(self, met: Counter[str]) -> None:
        """Count in `met` what the phones meet from here on."""
        for replayed in self.phones:
            replayed.counted.met = met

    @property
    def lost(self) -> int:
        """Accepted uploads whose weights have not come."""
        return sum(replayed.counted.waits for replayed in self.phones)

    def renew(self, turn: int, client: CloudClient) -> list[Event]:
        """A chance, and what comes of it, one phone after the other; the swaps."""
        events = []
        for replayed in self.phones:
            self._ask(replayed, turn, client)
            events += self._fetch(replayed, turn, client, patiently=True)
        return events

    def ask(self, turn: int, client: CloudClient) -> None:
        """A chance of those that have not taken it: upload where the policy asks."""
        for replayed in self.phones:
            self._ask(replayed, turn, client)

    def fetch(self, turn: int, client: CloudClient, *, patiently: bool) -> list[Event]:
        """Swap what is waited for: by one look each, or however many it takes; the swaps."""
        return [
            event
            for replayed in self.phones
            for event in self._fetch(replayed, turn, client, patiently=patiently)
        ]

    def _ask(self, replayed: Replayed, turn: int, client: CloudClient) -> None:
        if turn < replayed.timeline.turns:
            sent = replayed.chance(turn, self._judge.task, client)
            self.requests += sent > 0
            self.context_bytes += sent

    def _fetch(self, replayed: Replayed, turn: int, client: CloudClient, *, patiently: bool) -> list[Event]:
        counted = replayed.counted
        if counted.waits and (swapped := counted.settle(client) if patiently else counted.look(client)):
            return [{**replayed.took(swapped, turn), "policy": self.policy}]
        return []

    def predict(self, turn: int) -> list[Event]:
        """Predict what every device saw in this turn, and hold the phone's answers against its version's."""
        events: list[Event] = []
        for replayed in self.phones:
            timeline = replayed.timeline
            if turn >= timeline.turns:
                continue
            who = {"user": timeline.user, "policy": self.policy}
            value = self._judge.values(timeline, turn, replayed.versions)
            step = timeline.start + turn - timeline.origin
            events.append({"event": "predicted", **who, "turn": turn, "step": step, "value": value})
            wrong, fell = replayed.counted.answers()
            self.wrong += wrong
            self.backwards += fell
            if turn == timeline.turns - 1:
                events.append({"event": "replayed", **who})
        return events
