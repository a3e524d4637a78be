"""The two figures that describe a latency."""

import statistics
from collections.abc import Sequence


def percentiles(values: Sequence[float]) -> dict[str, float] | None:
    """p50 and p99, in the unit of the values; None where there are none."""
    if not values:
        return None
    cuts = statistics.quantiles([*values, *values] if len(values) == 1 else values, n=100, method="inclusive")
    return {"p50": round(cuts[49], 2), "p99": round(cuts[98], 2)}
