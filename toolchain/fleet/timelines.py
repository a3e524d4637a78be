"""What test users of a data set took, and when their phones change hands."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mnet.toolchain.errors import UserError
from mnet.toolchain.tasks.recommendation import Recommendation
from mnet.toolchain.training.build import load_data
from mnet.toolchain.training.run import Run

LONGEST = 60
SHORTEST = 5


@dataclass(frozen=True)
class Timeline:
    """One user's items, oldest first; those from `start` on are predicted, steps count from `origin`."""

    user: int
    items: Sequence[int]
    start: int
    origin: int

    @property
    def turns(self) -> int:
        """How many items are predicted."""
        return len(self.items) - self.start


def draw_timelines(run: Run, seed: int | None = None) -> list[Timeline]:
    """Every user with at least 5 test interactions, in a random order; the run's seed unless given.

    The first 60 of them are predicted; of a user who has nothing before them, the first one is the history. The origin
    is the drift where the data set knows its date, else the start.
    """
    interactions = load_data(run.config)
    split = recommender(run).splits(interactions).split
    found = []
    for user in range(interactions.n_users):
        first = int(interactions.offsets[user])
        start = max(int(split.test[user]), first + 1)
        end = min(int(split.end[user]), start + LONGEST)
        if end - start < SHORTEST:
            continue
        drift = interactions.drift_time
        origin = start - first if drift is None else interactions.before(user, drift)
        found.append(Timeline(user, interactions.items[first:end].tolist(), start - first, origin))
    order = np.random.default_rng(run.config.seed if seed is None else seed).permutation(len(found))
    return [found[k] for k in order]


def change_hands(timelines: Sequence[Timeline], after: int, seed: int) -> list[Timeline]:
    """The phones with more than `after` predictions, each of which then switches to another one's user.

    Its history is the first user's up to there, and that of the other one as it comes in from there on. Everyone's
    turns are still predicted once. Raises UserError where there are no two such phones.
    """
    long = [timeline for timeline in timelines if timeline.turns > after]
    if len(long) < 2:
        raise UserError(f"--drift {after}: only {len(long)} test users have more than {after} predictions")
    ring = np.random.default_rng(seed).permutation(len(long)).tolist()
    follower = dict(zip(ring, [*ring[1:], ring[0]], strict=True))
    return [_handed(first, long[follower[k]], after) for k, first in enumerate(long)]


def _handed(first: Timeline, second: Timeline, after: int) -> Timeline:
    items = [*first.items[: first.start + after], *second.items[second.start + after :]]
    return replace(first, items=items)


def recommender(run: Run) -> Recommendation:
    """The task of a run whose users can be replayed. Raises UserError for another one."""
    if not isinstance(run.task, Recommendation):
        raise UserError(f"{run.path}: only recommendation runs can be replayed, this one is {run.task.name}")
    return run.task


def shards(count: int, parts: int) -> Iterator[tuple[int, int]]:
    """(skip, count) of each of `parts` nearly equal parts of `count` things."""
    for part in range(parts):
        skip = part * count // parts
        yield skip, (part + 1) * count // parts - skip
