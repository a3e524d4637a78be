"""What a policy gave and cost, from what its phones reported."""

from typing import Any

import torch

from toolchain.fleet.phone import Report
from toolchain.tasks.ranking import METRICS, full_values

NDCG = METRICS[0]


class Tally:
    """Hears the events of a replay and hands them on to `report`."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._ranks: dict[str, list[int]] = {}
        self._phones = self._requests = self._bytes = 0

    def hear(self, event: str, **fields: Any) -> None:
        """Count an event."""
        if event == "predicted":
            for version, rank in fields["rank"].items():
                self._ranks.setdefault(version, []).append(rank)
        elif event == "swapped":
            self._requests += 1
            self._bytes += fields["bytes"]
        elif event == "replayed":
            self._phones += 1
        self._report(event, **fields)

    def result(self) -> dict[str, Any]:
        """`requests` and `bytes` of packs a phone, and `ndcg` of each version over all predictions."""
        ndcg = {
            version: float(full_values(torch.tensor(ranks))[NDCG].mean())
            for version, ranks in self._ranks.items()
            if version != "first"  # not there from the start on
        }
        return {"requests": self._requests / self._phones, "bytes": self._bytes / self._phones, "ndcg": ndcg}
