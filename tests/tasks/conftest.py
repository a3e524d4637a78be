"""A small data set in which every item is taken once, so that an item tells its row."""

import numpy as np
import pytest

from mnet.toolchain.data.interactions import Interactions, from_columns


@pytest.fixture(scope="session")
def data() -> Interactions:
    """12 users; user u takes 3 + u items between moments that overlap; every item of the set is unique."""
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(12), np.arange(3, 15))
    items = rng.permutation(len(users)) + 1
    times = rng.integers(0, 1000, size=len(users)) + 40 * users
    return from_columns("made-up", users, items, times, n_items=len(items))
