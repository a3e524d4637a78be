"""What every interaction data set becomes: one time-ordered sequence of items for each user."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Interactions:
    """Implicit feedback, sorted by user, then time; items are 1..n_items, 0 is left free for padding.

    Attributes:
        name: of the data set.
        items: int64 [N], the item of each interaction.
        times: int64 [N], in seconds; rises within a user.
        offsets: int64 [U + 1]; user u owns the rows offsets[u] to offsets[u + 1].
        n_items: size of the catalogue.
        titles: one for each item, item i at i - 1; None where the source has none.
        drift_time: the moment at which the users' interests shift, where the data set knows it.
    """

    name: str
    items: IntArray
    times: IntArray
    offsets: IntArray
    n_items: int
    titles: tuple[str, ...] | None = None
    drift_time: int | None = None

    @property
    def n_users(self) -> int:
        return len(self.offsets) - 1

    @cached_property
    def users(self) -> IntArray:
        """int64 [N]: the user of each interaction."""
        return np.repeat(np.arange(self.n_users), np.diff(self.offsets))

    def sequence(self, user: int) -> IntArray:
        """The items of one user, oldest first."""
        return self.items[self.offsets[user] : self.offsets[user + 1]]

    def before(self, user: int, time: int) -> int:
        """How many interactions of a user lie before `time`."""
        start, end = self.offsets[user], self.offsets[user + 1]
        return int(np.searchsorted(self.times[start:end], time))


def from_columns(name: str, users: IntArray, items: IntArray, times: IntArray, **rest: Any) -> Interactions:
    """Sort loose rows into `Interactions`; rows of one user at the same second keep the order of the source."""
    order = np.lexsort((times, users))
    _, counts = np.unique(users, return_counts=True)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Interactions(name, items[order], times[order], offsets, **rest)
