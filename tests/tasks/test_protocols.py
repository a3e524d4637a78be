"""Splits: what is held back, for which users, and that no date is crossed."""

import numpy as np

from mnet.toolchain.data.interactions import Interactions, from_columns
from mnet.toolchain.tasks.protocols import split_interactions


def test_leave_one_out_holds_back_the_last_two_of_each_user(data: Interactions) -> None:
    split = split_interactions(data, "leave-one-out", 0.6, 0.2)
    assert (split.end - split.test == 1).all()
    assert (split.test - split.validation == 1).all()


def test_leave_one_out_tests_nobody_who_has_too_little() -> None:
    users = np.array([0, 0, 1, 1, 1])
    short = from_columns("short", users, np.arange(1, 6), np.arange(5), n_items=5)
    split = split_interactions(short, "leave-one-out", 0.6, 0.2)
    assert (split.end - split.test).tolist() == [0, 1]
    assert (split.validation - short.offsets[:-1]).tolist() == [2, 1]


def test_rolling_cuts_everybody_at_the_same_two_dates(data: Interactions) -> None:
    split = split_interactions(data, "rolling", 0.6, 0.2)
    row = np.arange(len(data.items))
    part = (row >= split.validation[data.users]).astype(int) + (row >= split.test[data.users])
    latest = [data.times[part == p].max() for p in range(3)]
    earliest = [data.times[part == p].min() for p in range(3)]
    assert latest[0] < earliest[1] <= latest[1] < earliest[2]
    assert abs((part == 0).mean() - 0.6) < 0.02
    assert abs((part == 1).mean() - 0.2) < 0.02
