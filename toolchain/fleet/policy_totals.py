"""What a policy gave and cost, from what its phones reported."""

from collections import defaultdict
from typing import Any

import numpy as np

from mnet.toolchain.fleet.percentiles import percentiles
from mnet.toolchain.fleet.processes import Event

VERSIONS = ("static", "default", "live")  # `first` is not there from the start on


class PolicyTotals:
    """Sums up the events of a fleet. `swap_us` and `upload_to_swap_ms` are of each swap, in its order."""

    def __init__(self, phones: int) -> None:
        self._phones = phones
        self._turns: list[int] = []
        self._values: dict[str, list[float]] = defaultdict(list)
        self._bytes: dict[int, int] = defaultdict(int)
        self.swap_us: list[float] = []
        self.upload_to_swap_ms: list[float] = []

    def count(self, event: Event) -> None:
        """Count an event."""
        if event["event"] == "predicted":
            self._turns.append(event["turn"])
            for version in VERSIONS:
                self._values[version].append(event["value"][version])
        elif event["event"] == "swapped":
            self._bytes[event["turn"]] += event["bytes"]
            self.swap_us.append(event["swap_us"])
            if event["upload_to_swap_ms"] is not None:
                self.upload_to_swap_ms.append(event["upload_to_swap_ms"])

    def result(self) -> dict[str, Any]:
        """`weight_bytes` a phone, `metric` of each version over all predictions, and the latencies' percentiles."""
        return {
            "swaps": len(self.swap_us),
            "weight_bytes": sum(self._bytes.values()) / self._phones,
            "metric": {version: float(np.mean(self._values[version])) for version in VERSIONS},
            "swap_us": percentiles(self.swap_us),
            "upload_to_swap_ms": percentiles(self.upload_to_swap_ms),
        }

    def quality(self, version: str, stretch: int) -> tuple[list[float], list[float]]:
        """The middle of each stretch of turns, and the mean of the metric over the predictions in it."""
        stretches = np.array(self._turns) // stretch
        values, found = np.array(self._values[version]), np.unique(stretches)
        end = max(self._turns) + 1
        middles = [(k * stretch + min((k + 1) * stretch, end)) / 2 for k in found.tolist()]
        return middles, [float(values[stretches == k].mean()) for k in found]

    def phones(self) -> list[int]:
        """How many phones are still replayed at each turn."""
        return np.bincount(self._turns).tolist()

    def cumulative_bytes(self) -> list[float]:
        """Bytes of weights that a phone has fetched, on average, by the end of each turn."""
        each = [self._bytes[turn] for turn in range(max(self._turns) + 1)]
        return (np.cumsum(each) / self._phones).tolist()
