"""Packs as a device gets them, one release after the other."""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from mnet.toolchain.metanetwork import smooth
from mnet.toolchain.training.scorers import GeneratedScorer


class ReleasedScorer:
    """A finished MetaNetwork whose releases keep a `share` of the one before, each device from its first one on.

    Call it with batches in which the packs of one device follow each other in time, as a test gives them.
    """

    def __init__(self, scorer: GeneratedScorer, share: float) -> None:
        self.scorer = scorer
        self.share = share
        self._device = -1
        self._last: dict[str, Tensor] = {}

    def __call__(self, batch: Any) -> Tensor:
        generated = self.scorer.packs(batch)
        if self.share:
            generated = self._released(generated, self.scorer.task.devices(batch))
        return self.scorer.logits(generated, batch)

    def _released(self, generated: dict[str, Tensor], device: Tensor) -> dict[str, Tensor]:
        """Release by release: share * the one before + (1 - share) * what is generated."""
        released: dict[str, list[Tensor]] = {name: [] for name in generated}
        for pack, owner in enumerate(device.tolist()):
            new = {name: values[pack] for name, values in generated.items()}
            self._last = smooth(self._last, new, self.share) if owner == self._device else new
            self._device = owner
            for name, value in self._last.items():
                released[name].append(value)
        return {name: torch.stack(values) for name, values in released.items()}


class Steps(NamedTuple):
    """What one more sample in the context does: `weight_change` fp32 [M] of each pack, `changed` bool [N] lists."""

    weight_change: Tensor
    changed: Tensor


@torch.no_grad()
def steps_at_inference(scorer: GeneratedScorer, batch: Any, share: float) -> Steps:
    """Compare the release of the contexts less their newest sample with the one after it came in."""
    old = scorer.packs(batch._replace(context=without_newest(batch.context)))
    new = smooth(old, scorer.packs(batch), share)
    before, after = (torch.cat([value.flatten(1) for value in packs.values()], dim=1) for packs in (old, new))
    real = scorer.task.has_target(batch)
    lists = [top_columns(scorer.logits(packs, batch)[real]) for packs in (old, new)]
    return Steps((after - before).norm(dim=1) / before.norm(dim=1), (lists[0] != lists[1]).any(dim=1))


def without_newest(context: Tensor) -> Tensor:
    """[M, n, ...], left-padded with zeros -> the same less the last of the n, and so one more zero on the left."""
    return functional.pad(context, (0, 0) * (context.dim() - 2) + (1, 0))[:, :-1]


def top_columns(logits: Tensor) -> Tensor:
    """The ten best columns of each row in the order of the columns, int64 [N, 10]; of 10 or fewer, the best one."""
    count = 10 if logits.shape[1] > 10 else 1
    return logits.topk(count, dim=1).indices.sort(dim=1).values
