"""Users of a data set replayed on host phones: how old and new weights rank what each of them took next."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

import numpy as np
import torch
from numpy.typing import NDArray

from export.bundle import Bundle
from export.session import Snapshot
from toolchain.errors import UserError
from toolchain.fleet.client import CloudClient
from toolchain.fleet.following import POLL_S
from toolchain.fleet.phone import Phone, Report
from toolchain.fleet.policies import RequestPolicy, request_policy
from toolchain.tasks.ranking import ranks
from toolchain.tasks.recommendation import Recommendation
from toolchain.training.build import load_data
from toolchain.training.run import Run

LONGEST = 60
SHORTEST = 5


@dataclass(frozen=True)
class Timeline:
    """One user's items, oldest first; those from `start` on are predicted, steps count from `origin`."""

    user: int
    items: Sequence[int]
    start: int
    origin: int


def draw_timelines(run: Run) -> list[Timeline]:
    """Every user with a history and at least 5 test interactions, in a seeded random order.

    The first 60 of them are used. The origin is the drift where the data set knows its date, else the start.
    """
    interactions = load_data(run.config)
    split = recommender(run).splits(interactions).split
    found = []
    for user in range(interactions.n_users):
        first, start = int(interactions.offsets[user]), int(split.test[user])
        end = min(int(split.end[user]), start + LONGEST)
        if start == first or end - start < SHORTEST:
            continue
        drift = interactions.drift_time
        origin = start - first if drift is None else interactions.before(user, drift)
        found.append(Timeline(user, interactions.items[first:end].tolist(), start - first, origin))
    order = np.random.default_rng(run.config.seed).permutation(len(found))
    return [found[k] for k in order]


def recommender(run: Run) -> Recommendation:
    """The task of a run whose users can be replayed. Raises UserError for another one."""
    if not isinstance(run.task, Recommendation):
        raise UserError(f"{run.path}: only recommendation runs can be replayed, this one is {run.task.name}")
    return run.task


class Replay:
    """Replays timelines as phones of one server, each with its own identity, weights and folder.

    Every `refresh` interactions a phone has a chance to ask: where its policy does, it uploads its context and swaps
    in what comes back. Each next item is ranked among the candidates: on the phone under `default` (the shipped
    weights), `first` (the first push, never renewed) and `live`; and by `static`, the device model trained alone, in
    eager PyTorch.
    """

    def __init__(
        self, run: Run, bundle: Bundle, server: str, key: str, report: Report, policy: str = "always"
    ) -> None:
        self._bundle = bundle
        self._task = recommender(run)
        self._static = Snapshot(0, lambda inputs: [run.static(*inputs)])
        self._server = server
        self._key = key
        self._refresh = self._task.settings.refresh
        self._ranking = self._task.settings.ranking
        self._report = report
        self._policy = policy

    @torch.inference_mode()
    def run(self, timelines: Sequence[Timeline]) -> None:
        """Report `swapped` and `predicted` as they happen; raises Offline, Denied or Refused."""
        with CloudClient(self._server) as client, TemporaryDirectory(prefix="mnet-phones-") as folder:
            for timeline in timelines:
                state = Path(folder) / str(timeline.user)
                phone = Phone(self._bundle, state, self._report)
                phone.enrol(client, self._key)
                self._replay(timeline, phone, client, request_policy(self._policy, self._bundle, state))
                self._report("replayed", user=timeline.user)

    def _replay(self, timeline: Timeline, phone: Phone, client: CloudClient, policy: RequestPolicy) -> None:
        versions = {"static": self._static, "default": phone.live}
        for now, target in enumerate(timeline.items[timeline.start :], start=timeline.start):
            seen = timeline.items[:now]
            if (now - timeline.start) % self._refresh == 0:
                context = list(seen[-self._task.context_length :])
                if asks := policy.asks(context):
                    self._renew(phone, client, context)
                    versions.setdefault("first", phone.live)
                policy.went_on(context, asked=asks)
            versions["live"] = phone.live
            candidates = self._candidates(timeline.user, now, target)
            inputs = self._task.device_inputs(seen, candidates.tolist())
            ranked = (candidates == target) | ~np.isin(candidates, self._left_out(seen))
            place = int(np.searchsorted(candidates[ranked], target))
            rank = {}
            for name, version in versions.items():
                (logits,) = version.run(inputs)
                rank[name] = int(ranks(logits[:, torch.from_numpy(ranked)], torch.tensor([place + 1])))
            self._report("predicted", user=timeline.user, step=now - timeline.origin, rank=rank)

    def _renew(self, phone: Phone, client: CloudClient, context: list[int]) -> None:
        started = monotonic()
        wanted = phone.upload(client, context)
        while True:
            swapped = phone.poll(client, POLL_S)
            if swapped is not None and swapped.version >= wanted:
                break
        self._report(
            "swapped",
            version=swapped.version,
            bytes=swapped.bytes,
            swap_us=swapped.swap_us,
            upload_to_swap_ms=(swapped.at - started) * 1e3,
        )

    def _left_out(self, seen: Sequence[int]) -> Sequence[int]:
        """What a user has seen, where the run was trained to rank the rest."""
        return seen if self._ranking == "unseen" else ()

    def _candidates(self, user: int, now: int, target: int) -> NDArray[np.int64]:
        """The whole catalogue where the device model takes it, else the target among random others."""
        rng = np.random.default_rng((user, now))
        others = np.setdiff1d(np.arange(1, self._task.n_items + 1), [target])
        return np.sort(np.append(rng.choice(others, self._task.candidates - 1, replace=False), target))


def shards(count: int, parts: int) -> Iterator[tuple[int, int]]:
    """(skip, count) of each of `parts` nearly equal parts of `count` things."""
    for part in range(parts):
        skip = part * count // parts
        yield skip, (part + 1) * count // parts - skip
