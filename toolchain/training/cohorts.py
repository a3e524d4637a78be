"""One pack for all devices that are alike: what lies between a pack for everyone and one for each device."""

from collections.abc import Callable, Iterable
from functools import cached_property
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from mnet.toolchain.training.scorers import GeneratedScorer

COHORTS = 8
# Of the training data, to know what devices there are: batches of so many packs.
BATCHES, BATCH = 64, 32
PASSES = 25


class CohortScorer(nn.Module):
    """A device model under the pack of its device's cohort, generated from the mean context vector of that cohort.

    Cohorts are `COHORTS` clusters of the training devices' context vectors by k-means (Lloyd 1982); a device belongs to
    the nearest, and has the default pack while it has no context.

    Args:
        personal: what generates the packs.
        training: gives training batches, asked for when the first batch is scored.
        seed: of the first centres.
    """

    def __init__(
        self, personal: GeneratedScorer, training: Callable[[], Iterable[Any]], seed: int = 0
    ) -> None:
        super().__init__()
        self.personal = personal
        self.training_batches = training
        self.seed = seed

    @cached_property
    def centres(self) -> Tensor:
        """fp32 [COHORTS, width]; fewer where there are fewer vectors that differ."""
        vectors = [self._vectors(batch) for batch in islice(self.training_batches(), BATCHES)]
        return centres(torch.cat(vectors), COHORTS, self.seed)

    def forward(self, batch: Any) -> Tensor:
        """As `Task.outputs`."""
        vectors = self._vectors(batch)
        known = (vectors != 0).any(dim=1, keepdim=True)
        nearest = self.centres[torch.cdist(vectors, self.centres).argmin(dim=1)] * known
        return self.personal.logits(self.personal.packs_of(nearest), batch)

    @torch.no_grad()
    def _vectors(self, batch: Any) -> Tensor:
        return self.personal.task.vectors(self.personal.metanetwork, batch)


def centres(vectors: Tensor, count: int, seed: int) -> Tensor:
    """Means of at most `count` clusters of `vectors` fp32 [N, width], those that are zero left out."""
    kept = vectors[(vectors != 0).any(dim=1)]
    different = kept.unique(dim=0)
    chosen = torch.randperm(len(different), generator=torch.Generator().manual_seed(seed))[:count]
    found = different[chosen]
    for _ in range(PASSES):
        nearest = torch.cdist(kept, found).argmin(dim=1)
        found = torch.stack(
            [kept[nearest == i].mean(dim=0) if (nearest == i).any() else found[i] for i in range(len(found))]
        )
    return found
