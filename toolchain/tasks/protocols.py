"""How a data set is split into what is trained on, validated on and tested on.

leave-one-out: of each user the last item is the test, the one before it the validation, by time.
rolling: train on everything before one date; then predict every later interaction of every user in order, from the true
history so far, with a pack that is regenerated every `refresh` interactions.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from mnet.toolchain.data.interactions import IntArray, Interactions

Protocol = Literal["rolling", "leave-one-out"]


@dataclass(frozen=True)
class Split:
    """Boundaries int64 [U] in the rows of `Interactions`.

    User u is trained on the rows before `validation[u]`, validated on those from there to `test[u]`, and tested
    on those from there to `end[u]`.
    """

    validation: IntArray
    test: IntArray
    end: IntArray


def split_interactions(
    interactions: Interactions, protocol: Protocol, train_share: float, validation_share: float
) -> Split:
    """Cut each user's rows. The shares place the two dates of `rolling`, in parts of all interactions by time."""
    starts, ends = interactions.offsets[:-1], interactions.offsets[1:]
    if protocol == "leave-one-out":
        # With fewer than three interactions there is nothing to train on, to validate on, or both.
        enough = ends - starts >= 3
        return Split(np.where(enough, ends - 2, ends), np.where(enough, ends - 1, ends), ends)
    by_time = np.sort(interactions.times)
    dates = [by_time[int(share * len(by_time))] for share in (train_share, train_share + validation_share)]
    validation, test = (
        np.array([starts[user] + interactions.before(user, date) for user in range(interactions.n_users)])
        for date in dates
    )
    return Split(validation, test, ends)
