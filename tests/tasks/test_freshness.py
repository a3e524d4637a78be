"""Packs as old as they are in use: nothing of the session that they serve is in them, and nothing later."""

import numpy as np
import pytest

from mnet.toolchain.data.interactions import Interactions, from_columns
from mnet.toolchain.tasks.freshness import pack_times
from mnet.toolchain.tasks.protocols import Split
from mnet.toolchain.tasks.windows import Windows

# Two users; the first one pauses for an hour after two items, and once more before the last.
TIMES = np.array([0, 60, 4_000, 4_060, 4_120, 9_000, 10, 20])
USERS = np.array([0, 0, 0, 0, 0, 0, 1, 1])


@pytest.fixture
def visits() -> Interactions:
    return from_columns("visits", USERS, np.arange(1, 9), TIMES, n_items=8)


def test_a_pack_of_a_session_knows_what_came_before_it(visits: Interactions) -> None:
    times = pack_times(visits, "session", pause=1800)
    assert times.known.tolist() == [0, 0, 2, 2, 2, 5, 6, 6]
    assert times.made.tolist() == [0, 0, 4_000, 4_000, 4_000, 9_000, 10, 10]
    assert list(times.packs(1, 6, refresh=2)) == [(1, 2), (2, 4), (4, 5), (5, 6)]


def test_a_pack_some_seconds_old_knows_nothing_younger(visits: Interactions) -> None:
    times = pack_times(visits, 60, pause=1800)
    assert times.known.tolist() == [0, 0, 2, 2, 3, 5, 6, 6]
    assert (times.made == TIMES - 60).all()


def test_a_latest_pack_knows_all_before_it(visits: Interactions) -> None:
    times = pack_times(visits, "latest", pause=1800)
    assert times.known.tolist() == list(range(8))
    assert list(times.packs(0, 6, refresh=4)) == [(0, 4), (4, 6)]


def by_session(visits: Interactions, split: Split, refresh: int) -> Windows:
    """Windows whose packs are one session old."""
    return Windows(
        visits,
        split,
        ranking="all",
        refresh=refresh,
        context_length=4,
        history=3,
        times=pack_times(visits, "session", pause=1800),
    )


def test_what_is_served_is_from_one_session_and_made_before_it(visits: Interactions) -> None:
    split = Split(np.array([0, 6]), np.array([0, 6]), np.array([6, 8]))
    windows = by_session(visits, split, refresh=2)
    (packs,) = windows.test(100)
    assert packs.target.tolist() == [[1, 2], [3, 4], [5, 0], [6, 0], [7, 8]]
    assert packs.context[packs.row].tolist() == [
        [0, 0, 0, 0],
        [0, 0, 1, 2],
        [0, 0, 1, 2],
        [2, 3, 4, 5],
        [0, 0, 0, 0],
    ]
    assert packs.known.tolist() == [0, 2, 2, 5, 6]
    assert packs.history[1, 1].tolist() == [1, 2, 3], "the phone itself knows its latest items"


def test_packs_in_training_are_as_old_as_at_their_first_target(visits: Interactions) -> None:
    """Many packs share a row of items: each is generated from its part of it, which ends before its session."""
    split = Split(np.array([6, 8]), np.array([6, 8]), np.array([6, 8]))
    windows = by_session(visits, split, refresh=1)
    known = dict(zip(range(1, 9), [0, 0, 2, 2, 2, 5, 6, 6], strict=True))
    for seed in range(8):  # every phase of the stretches
        (packs,) = windows.training(100, seed)
        for target, row, cut, upto in zip(packs.target[:, 0], packs.row, packs.cut, packs.known, strict=True):
            context = [item for item in packs.context[row, : cut + 1].tolist() if item]
            first = 0 if target <= 6 else 6
            assert upto == known[int(target)]
            expected = list(range(first + 1, known[int(target)] + 1))
            assert context == expected[len(expected) - len(context) :]
        assert len(packs.target) >= 7, (
            "what knows less than its row reaches back may be left out, and no more"
        )
