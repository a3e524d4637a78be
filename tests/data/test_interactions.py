"""What `mnet data show` says of a set."""

import numpy as np

from mnet.toolchain.data.interactions import from_columns

DAY = 86_400
DATA = from_columns(
    "made-up",
    np.array([0, 0, 0, 1, 1]),
    np.array([1, 2, 3, 3, 1]),
    np.array([0, 1, 2, 3, 10]) * DAY,
    n_items=3,
    titles=("ale", "rum", "tea"),
)


def test_the_summary_counts() -> None:
    assert list(DATA.summary().values()) == [2, 3, 5, "2, 2, 2", "10 days, 1970-01-01 to 1970-01-11 (UTC)"]


def test_examples_are_the_latest_of_some_users() -> None:
    assert [(row["user"], row["title"], row["time"][:10]) for row in DATA.examples(items=2)] == [
        ("0", "rum", "1970-01-02"),
        ("0", "tea", "1970-01-03"),
        ("1", "tea", "1970-01-04"),
        ("1", "ale", "1970-01-11"),
    ]


def test_a_set_without_dates_shows_none() -> None:
    undated = from_columns("made-up", np.array([0]), np.array([1]), np.array([0]), n_items=1, dated=False)
    assert undated.summary()["time"] == "no dates, only the order"
    assert undated.examples() == [{"user": "0", "item": "1", "title": "", "time": ""}]


def test_ties_in_time_are_in_an_order_by_chance_and_always_the_same() -> None:
    users, times = np.repeat([0, 1], 50), np.tile(np.repeat([5, 7], 25), 2)
    data = from_columns("tied", users, np.arange(1, 101), times, n_items=100)
    shuffled = data.ties_by_chance()
    assert (shuffled.times == data.times).all()
    for first in range(0, 100, 25):
        block = slice(first, first + 25)
        assert set(shuffled.items[block]) == set(data.items[block])
        assert (shuffled.items[block] != data.items[block]).any()
    assert (shuffled.items == data.ties_by_chance().items).all()
