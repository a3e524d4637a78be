"""The state of the world knows what was taken before a moment, and nothing of what comes after it."""

import numpy as np
import torch

from mnet.toolchain.data.interactions import Interactions, from_columns
from mnet.toolchain.tasks.trends import Trends, later

HALF_LIVES = (2.0, 8.0)


def taken(items: list[int]) -> Interactions:
    count = len(items)
    return from_columns("taken", np.arange(count), np.array(items), 10 * np.arange(count), n_items=4)


def test_an_event_counts_half_after_each_half_life() -> None:
    world, moment = Trends(taken([1, 2, 1, 3]), HALF_LIVES).before(np.array([40]))
    assert moment.tolist() == [0]
    expected = torch.tensor([[2**-1.5 + 2**-0.5, 2**-1, 1, 0]])
    torch.testing.assert_close(world.counts[..., 0], expected, rtol=1e-2, atol=1e-2)  # kept as bfloat16
    assert world.age.tolist() == [[4, 3, 1, -1]]
    assert world.events.tolist() == [4]


def test_what_comes_after_a_moment_changes_nothing() -> None:
    moments = np.array([0, 15, 30])
    one, which = Trends(taken([1, 2, 1, 3, 3]), HALF_LIVES).before(moments)
    other, _ = Trends(taken([1, 2, 1, 4, 4]), HALF_LIVES).before(moments)
    assert which.tolist() == [0, 1, 2]
    for a, b in zip(one, other, strict=True):
        assert torch.equal(a, b)
    assert one.until.tolist() == [0, 10, 20]
    assert (one.counts[0] == 0).all()
    assert (one.age[0] == -1).all()


def test_moments_alike_share_a_state() -> None:
    world, moment = Trends(taken([1, 2, 1]), HALF_LIVES).before(np.array([25, 5, 26]))
    assert len(world.counts) == 2
    assert moment.tolist() == [1, 0, 1]


def test_a_state_is_carried_on_by_what_came_after_it_alone() -> None:
    before, whole = taken([1, 2, 1]), taken([1, 2, 1, 3, 3, 1])
    found = later(Trends(before, HALF_LIVES).now(), whole, HALF_LIVES)
    expected = Trends(whole, HALF_LIVES).now()
    torch.testing.assert_close(found.counts, expected.counts, rtol=1e-2, atol=1e-2)  # kept as bfloat16
    assert found.age.tolist() == expected.age.tolist()
    assert found.events.tolist() == [6]
    assert found.until.tolist() == expected.until.tolist() == [50]
    assert later(found, whole, HALF_LIVES) is found, "nothing of it is new"
