"""What test devices of a data set saw, and when phones change hands."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from mnet.toolchain.errors import UserError
from mnet.toolchain.tasks.timeline import Timeline
from mnet.toolchain.training.build import load_data
from mnet.toolchain.training.run import Run


def draw_timelines(run: Run, seed: int | None = None) -> list[Timeline]:
    """The timelines of the run's task, in a random order; the run's seed unless given.

    Raises UserError for a task that cannot be replayed.
    """
    found = run.task.timelines(load_data(run.config))
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


def shards(count: int, parts: int) -> Iterator[tuple[int, int]]:
    """(skip, count) of each of `parts` nearly equal parts of `count` things."""
    for part in range(parts):
        skip = part * count // parts
        yield skip, (part + 1) * count // parts - skip
