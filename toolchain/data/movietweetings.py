"""MovieTweetings, the snapshot of 100,000: films that 16,554 people rated in tweets, from March to August 2013.

Dooms, De Pessemier and Martens (CrowdRec 2013). New films come out and old ones are left: what is rated drifts from
week to week. Every rating counts as one implicit positive, whatever its stars.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from mnet.toolchain.data.download import Source, find
from mnet.toolchain.data.interactions import Interactions, from_columns
from mnet.toolchain.errors import UserError

DATA_SETS = {"movietweetings": "load_movietweetings"}

NAME = "movietweetings"
REPOSITORY = "https://github.com/sidooms/MovieTweetings"
COMMIT = "4d8280a3f1ea83e3e23f13d1710d19f43564274f"
SOURCE = Source(
    f"https://raw.githubusercontent.com/sidooms/MovieTweetings/{COMMIT}/snapshots/100K/ratings.dat",
    "sha256",
    "c0dd868c2632d10002ebc928ddc5345f33adeaa59eca52c2941c26a2c5e36fd6",
)


def load_movietweetings(path: Path | None = None) -> Interactions:
    """Read the data set from its file, or download it once into the cache. Raises UserError."""
    file = find(NAME, path, "ratings.dat", SOURCE, f"snapshots/100K/ratings.dat out of {REPOSITORY}")
    try:
        # Four fields with two colons between them; a single one lets pandas' quick parser read it.
        table = pd.read_csv(
            file, sep=":", header=None, usecols=[0, 2, 6], names=["user", "item", "time"], dtype=np.int64
        )
    except (ValueError, pd.errors.ParserError) as error:
        raise UserError(
            f"{NAME}: {file}: expected user::film::stars::seconds a line: {' '.join(str(error).split())}"
        ) from None
    users, _ = pd.factorize(table["user"])
    items, films = pd.factorize(table["item"], sort=True)
    titles = tuple(f"tt{film:07}" for film in films)
    return from_columns(
        NAME,
        users.astype(np.int64),
        items.astype(np.int64) + 1,
        table["time"].to_numpy(),
        n_items=len(films),
        titles=titles,
    )
