"""Next-item recommendation: a sample is an item id, a context the recent item ids of a user, oldest first."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Recommendation:
    """The task as the exporter, the cloud and the device see it.

    Attributes:
        n_items: size of the catalogue; ids are 1..n_items.
        history: items that the device model looks back on.
        context_length: items that the MetaNetwork looks back on.
        candidates: items that one inference on the device scores.
    """

    n_items: int
    history: int
    context_length: int
    candidates: int

    name: ClassVar[str] = "recommendation"
    input_names: ClassVar[tuple[str, ...]] = ("history", "candidates")
    output_names: ClassVar[tuple[str, ...]] = ("logits",)

    def example_inputs(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Random valid device inputs of batch 1: history int64 [1, L] (at least one item), candidates int64 [1, C]."""
        length = int(torch.randint(1, self.history + 1, (), generator=generator))
        samples = torch.randint(1, self.n_items + 1, (length,), generator=generator)
        candidates = torch.randperm(self.n_items, generator=generator)[: self.candidates] + 1
        return self.device_inputs(samples.tolist(), candidates.tolist())

    def context(self, samples: Sequence[int]) -> Tensor:
        """What a device uploaded -> int64 [1, context_length], the most recent items, left-padded with 0.

        Raises ValueError on an id outside 1..n_items.
        """
        return self._padded(samples, self.context_length)

    def device_inputs(self, samples: Sequence[int], candidates: Sequence[int]) -> tuple[Tensor, Tensor]:
        """A user's items, oldest first, and the items to score -> history int64 [1, L], candidates int64 [1, C].

        Raises ValueError on an id outside 1..n_items, or on another number of candidates than the model was made for.
        """
        if len(candidates) != self.candidates:
            raise ValueError(
                f"{len(candidates)} candidates, the device model scores {self.candidates} at a time"
            )
        return self._padded(samples, self.history), self._padded(candidates, self.candidates)

    def _padded(self, items: Sequence[int], length: int) -> Tensor:
        for item in items:
            if not 1 <= item <= self.n_items:
                raise ValueError(f"unknown item id {item}; the catalogue is 1..{self.n_items}")
        recent = list(items)[-length:]
        return torch.tensor([[0] * (length - len(recent)) + recent], dtype=torch.int64)


def next_item_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of the softmax over the whole catalogue, averaged over the targets that exist.

    `logits` fp32 [..., n_items], item i in column i - 1; `target` int64 [...], 0 where there is nothing to predict.
    """
    return functional.cross_entropy(logits.flatten(0, -2), target.flatten() - 1, ignore_index=-1)
