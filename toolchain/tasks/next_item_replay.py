"""Recommendation replayed on phones: which users, what a phone uploads, and how what comes next is ranked."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mnet.toolchain.data import Interactions
from mnet.toolchain.tasks.ranking import full_values, ranks
from mnet.toolchain.tasks.task import Task
from mnet.toolchain.tasks.timeline import LONGEST, SHORTEST, Question, Timeline
from mnet.toolchain.tasks.windows import PackWindows


class NextItemReplay(Task[PackWindows]):
    """The part of recommendation that replays need."""

    n_items: int
    context_length: int
    candidates: int
    settings: Any

    @property
    def refresh(self) -> int:
        return int(self.settings.refresh)

    @property
    def questions(self) -> str:
        seen = ", less what the user has seen" if self.settings.ranking == "unseen" else ""
        return f"each next item among {self.candidates} candidates{seen}"

    def timelines(self, data: Interactions) -> list[Timeline]:
        """Of every user with at least 5 test interactions the first 60.

        Of a user who has nothing before them, the first one is the history. The origin is the drift where the data set
        knows its date, else the start.
        """
        split = self.splits(data).split  # type: ignore[attr-defined]
        found = []
        for user in range(data.n_users):
            first = int(data.offsets[user])
            start = max(int(split.test[user]), first + 1)
            end = min(int(split.end[user]), start + LONGEST)
            if end - start < SHORTEST:
                continue
            origin = start - first if data.drift_time is None else data.before(user, data.drift_time)
            found.append(Timeline(user, data.items[first:end].tolist(), start - first, origin))
        return found

    def uploaded(self, samples: Sequence[Any]) -> list[Any]:
        return list(samples[-self.context_length :])

    def example_samples(self, count: int, rng: np.random.Generator) -> list[Any]:
        items: list[int] = rng.integers(1, self.n_items + 1, count).tolist()
        return items

    def question(self, timeline: Timeline, turn: int) -> Question:
        """The item of this turn, ranked among the candidates; what the user has seen is left out as in training."""
        now = timeline.start + turn
        seen, target = timeline.items[:now], timeline.items[now]
        candidates = self._among(timeline.user, now, target)
        left_out = seen if self.settings.ranking == "unseen" else ()
        ranked = (candidates == target) | ~np.isin(candidates, left_out)
        place = int(np.searchsorted(candidates[ranked], target))

        def value(outputs: Sequence[Tensor]) -> float:
            rank = ranks(outputs[0][:, torch.from_numpy(ranked)], torch.tensor([place + 1]))
            return float(full_values(rank)[self.metrics[0]])

        return Question(self.device_inputs(seen, candidates.tolist()), value)  # type: ignore[attr-defined]

    def _among(self, user: int, now: int, target: int) -> NDArray[np.int64]:
        """The whole catalogue where the device model takes it, else the target among random others."""
        rng = np.random.default_rng((user, now))
        others = np.setdiff1d(np.arange(1, self.n_items + 1), [target])
        return np.sort(np.append(rng.choice(others, self.candidates - 1, replace=False), target))
