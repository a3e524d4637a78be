"""What every interaction data set becomes: one time-ordered sequence of items for each user."""

from dataclasses import dataclass, replace
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
        times: int64 [N], in seconds; rises within a user. Where the set is not `dated`, nothing but the order.
        offsets: int64 [U + 1]; user u owns the rows offsets[u] to offsets[u + 1].
        n_items: size of the catalogue.
        titles: one for each item, item i at i - 1; None where the source has none.
        item_ids, user_ids: as the source names them, item i at i - 1 and user u at u; None where they are the numbers.
        drift_time: the moment at which the users' interests shift, where the data set knows it.
        dated: whether `times` compare between users.
        columns: which column of the source was read as what, and as which type; None where a source has no names.
    """

    name: str
    items: IntArray
    times: IntArray
    offsets: IntArray
    n_items: int
    titles: tuple[str, ...] | None = None
    drift_time: int | None = None
    dated: bool = True
    item_ids: tuple[str, ...] | None = None
    user_ids: tuple[str, ...] | None = None
    columns: str | None = None

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

    def ties_by_chance(self) -> "Interactions":
        """The same with a user's interactions of one second in an order by chance, always the same.

        The order of a source could tell what nobody knew at that second.
        """
        order = np.lexsort((np.random.default_rng(0).random(len(self.items)), self.times, self.users))
        return replace(self, items=self.items[order])

    def before(self, user: int, time: int) -> int:
        """How many interactions of a user lie before `time`."""
        start, end = self.offsets[user], self.offsets[user + 1]
        return int(np.searchsorted(self.times[start:end], time))

    def summary(self) -> dict[str, int | str]:
        """What there is, in numbers, and what of it is odd."""
        lengths = np.diff(self.offsets)
        low, middle, high = (int(x) for x in np.percentile(lengths, (10, 50, 90)))
        return {
            "users": self.n_users,
            "items": self.n_items,
            "interactions": len(self.items),
            "interactions of a user (10 %, half, 90 % have at most)": f"{low}, {middle}, {high}",
            "time": self._span() if self.dated else "no dates, only the order",
            **({"columns": self.columns} if self.columns else {}),
            **self._odd(),
            **{f"warning {n}": text for n, text in enumerate(self.warnings, start=1)},
        }

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is legal, and makes training or its figures worthless."""
        found = []
        if self.n_users == 1:
            found.append("there is one user: nothing can be personalized")
        if self.n_items == 1:
            found.append("there is one item: every ranking is right")
        if self.dated and len(self.times) > 1 and np.ptp(self.times) == 0:
            found.append("all interactions are of one second: there is no order of time to learn from")
        return tuple(found)

    def _span(self) -> str:
        first, last = (str(np.datetime64(int(time), "s")) for time in (self.times.min(), self.times.max()))
        return f"{np.ptp(self.times) / 86_400:,.0f} days, {first[:10]} to {last[:10]} (UTC)"

    def _odd(self) -> dict[str, int | str]:
        """What is legal, and yet may be a mistake."""
        same_user = self.users[1:] == self.users[:-1]
        pairs = np.sort(self.users * (self.n_items + 1) + self.items)
        odd: dict[str, int | str] = {}
        if again := int((pairs[1:] == pairs[:-1]).sum()):
            odd["of these, of an item that the user had before"] = again
        if self.dated and (ties := int((same_user & (self.times[1:] == self.times[:-1])).sum())):
            odd["of these, within the same second as the user's one before"] = ties
        return odd

    def examples(self, users: int = 3, items: int = 5) -> list[dict[str, str]]:
        """The latest items of a few users, spread over the set, by their own ids."""
        return [
            {
                "user": self.user_ids[user] if self.user_ids else str(user),
                "item": self.item_ids[self.items[row] - 1] if self.item_ids else str(self.items[row]),
                "title": self.titles[self.items[row] - 1] if self.titles else "",
                "time": str(np.datetime64(int(self.times[row]), "s")) if self.dated else "",
            }
            for user in np.linspace(0, self.n_users - 1, min(users, self.n_users), dtype=int)
            for row in range(max(self.offsets[user], self.offsets[user + 1] - items), self.offsets[user + 1])
        ]


def from_columns(
    name: str, users: IntArray, items: IntArray, times: IntArray, exact: IntArray | None = None, **rest: Any
) -> Interactions:
    """Sort loose rows into `Interactions`, by `exact` int64 [N] where that is finer than the seconds of `times`.

    Rows of one user at the same time keep the order of the source.
    """
    order = np.lexsort((times if exact is None else exact, users))
    _, counts = np.unique(users, return_counts=True)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Interactions(name, items[order], times[order], offsets, **rest)
