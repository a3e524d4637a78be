"""The data set: who took what, in order. Replace `load` by a reader of your own data.

A table of user, item and time needs no code: `data: {name: table, path: taken.csv}` reads CSV and Parquet.
"""

from pathlib import Path

import numpy as np

from mnet.toolchain.data import Interactions

USERS, STEPS, GROUPS, ITEMS = 200, 40, 10, 10


def load(path: Path | None = None) -> Interactions:
    """Made-up users: each one takes items of two groups of ten, and now and then anything."""
    draw = np.random.default_rng(0)
    liked = draw.integers(GROUPS, size=(USERS, 2))
    own = liked[np.arange(USERS)[:, None], draw.integers(2, size=(USERS, STEPS))]
    group = np.where(draw.random((USERS, STEPS)) < 0.7, own, draw.integers(GROUPS, size=(USERS, STEPS)))
    items = 1 + group * ITEMS + draw.integers(ITEMS, size=(USERS, STEPS))
    return Interactions(
        name="my-data",
        items=items.ravel(),  # user by user, oldest first; ids from 1, because 0 is padding
        times=np.tile(3600 * np.arange(STEPS), USERS),  # seconds
        offsets=STEPS * np.arange(USERS + 1),  # where each user's items begin
        n_items=GROUPS * ITEMS,
    )
