"""Foursquare check-ins in New York: 1,083 people at 5,135 venues over ten months from April 2012, 147,938 check-ins.

Yang et al. (IEEE Transactions on Systems, Man, and Cybernetics 2015), as preprocessed and published with STAN (Luo, Liu
and Liu, WWW 2021), whose times are minutes. People come back to their venues: rank all of them.
"""

from pathlib import Path

import numpy as np

from mnet.toolchain.data.download import Source, find
from mnet.toolchain.data.interactions import Interactions, from_columns
from mnet.toolchain.errors import UserError

DATA_SETS = {"foursquare-nyc": "load_foursquare_nyc"}

NAME = "foursquare-nyc"
REPOSITORY = "https://github.com/yingtaoluo/Spatial-Temporal-Attention-Network-for-POI-Recommendation"
COMMIT = "137b0dc5e568a94b8e92f7e5e7475cb7bfdae2da"
SOURCE = Source(
    "https://raw.githubusercontent.com/yingtaoluo/Spatial-Temporal-Attention-Network-for-POI-Recommendation/"
    f"{COMMIT}/data/NYC.npy",
    "sha256",
    "9e28b974a52d233e201ff9e82e1c076818c90b1e8f25f4ef93daaf1d7e8ddf55",
)


def load_foursquare_nyc(path: Path | None = None) -> Interactions:
    """Read the data set from its file, or download it once into the cache. Raises UserError."""
    file = find(NAME, path, "NYC.npy", SOURCE, f"data/NYC.npy out of {REPOSITORY}")
    try:
        rows = np.load(file, allow_pickle=False)
    except (ValueError, OSError) as error:
        raise UserError(f"{NAME}: cannot read {file}: {error}") from None
    if rows.ndim != 2 or rows.shape[1] != 3 or not len(rows):
        raise UserError(f"{NAME}: {file}: expected user, venue and minute in three columns")
    _, users = np.unique(rows[:, 0], return_inverse=True)
    venues, items = np.unique(rows[:, 1], return_inverse=True)
    return from_columns(
        NAME,
        users.astype(np.int64),
        items.astype(np.int64) + 1,
        rows[:, 2].astype(np.int64) * 60,
        n_items=len(venues),
    )
