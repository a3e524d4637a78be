"""How old the pack is that serves an interaction: what it was made from, and when.

In a benchmark a pack can be made right before every prediction; a phone in use has one from its last visit. `session`
says that: a session ends where its user pauses, its packs were made before it began, from what came before it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from mnet.toolchain.data.interactions import IntArray, Interactions

Freshness = Literal["latest", "session"] | Annotated[int, Field(gt=0)]


@dataclass(frozen=True)
class PackTimes:
    """Of every interaction of a data set, the pack that serves it.

    Attributes:
        known: int64 [N], the row before which the context of the pack ends, one of the same user.
        made: int64 [N], the time before which everything was known when the pack was made.
        begins: bool [N], whether the interaction needs another pack than the one before it.
    """

    known: IntArray
    made: IntArray
    begins: NDArray[np.bool_]

    def packs(self, begin: int, end: int, refresh: int) -> Iterator[tuple[int, int]]:
        """The first and one past the last row of each pack from `begin` to `end`; it serves up to `refresh` of them."""
        breaks = begin + 1 + np.flatnonzero(self.begins[begin + 1 : end])
        for low, high in pairwise([begin, *breaks.tolist(), end]):
            for first in range(low, high, refresh):
                yield first, min(first + refresh, high)


def pack_times(data: Interactions, freshness: Freshness, pause: int) -> PackTimes:
    """Where packs are `latest`, from before the `session`, or some seconds old.

    A session ends at a pause of over `pause` seconds.

    A pack that is made before an interaction knows none of the same second.
    """
    row = np.arange(len(data.items), dtype=np.int64)
    begins = np.zeros(len(row), dtype=np.bool_)
    if freshness == "latest":
        return PackTimes(row, data.times, begins)
    if freshness == "session":
        begins[:1] = True
        begins[1:] = (np.diff(data.times) > pause) | (np.diff(data.users) != 0)
        known = np.maximum.accumulate(np.where(begins, row, 0))
        return PackTimes(known, data.times[known], begins)
    assert isinstance(freshness, int)
    made = data.times - freshness
    rows = [
        start + np.searchsorted(data.times[start:end], made[start:end])
        for start, end in zip(data.offsets[:-1], data.offsets[1:], strict=True)
    ]
    return PackTimes(np.concatenate(rows).astype(np.int64), made, begins)
