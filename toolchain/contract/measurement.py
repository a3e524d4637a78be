"""What an app measures of the weights that it runs: totals of a metric, which phone and cloud bound alike."""

import math
import re
from dataclasses import dataclass

METRIC = r"[a-z][a-z0-9_.-]{0,63}"
LARGEST = 1e6  # magnitude of one value
MOST = 10**9  # values of a metric under one release
METRICS = 16  # names of metrics under one release
RELEASES = 4  # the newest of which a phone keeps totals
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Totals:
    """Of all values of a metric under one release so far, so that sending them twice counts nothing twice."""

    count: int = 0
    sum: float = 0.0
    squares: float = 0.0

    def with_value(self, value: float) -> "Totals":
        """With one value more; `check_value` has passed it."""
        return Totals(self.count + 1, self.sum + value, self.squares + value * value)

    @property
    def possible(self) -> bool:
        """Whether there are `count` values, none beyond LARGEST, that have this sum and this sum of squares."""
        if not (1 <= self.count <= MOST and math.isfinite(self.sum) and math.isfinite(self.squares)):
            return False
        room = 1 + _ROUNDING * self.count
        of_sum, of_squares = self.count * LARGEST * room, self.count * LARGEST**2 * room
        within = abs(self.sum) <= of_sum and self.squares <= of_squares
        return within and self.sum**2 <= self.count * self.squares * room


def check_metric(metric: str) -> None:
    """Raise ValueError for what cannot name a metric."""
    if not re.fullmatch(METRIC, metric):
        raise ValueError(f"a metric is named by {METRIC}, not {metric!r}")


def check_value(value: float) -> None:
    """Raise ValueError for a value that is not finite, or beyond LARGEST."""
    if not abs(value) <= LARGEST:  # NaN is refused too
        raise ValueError(f"a value is finite and within {LARGEST:,.0f} of zero, not {value}")
