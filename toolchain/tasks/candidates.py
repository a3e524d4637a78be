"""What a target competes with: the catalogue, or a sample of it, less what its user had seen before."""

import math

import torch
from torch import Tensor

from mnet.toolchain.tasks.windows import PackWindows

# Softmax gives exactly 0 for it in fp32; being finite it makes no NaN of a row that is all padding.
MASKED = -1e9


def without_seen(logits: Tensor, packs: PackWindows) -> Tensor:
    """Take what a user has seen before a target out of its running, in the softmax and in the ranking.

    `logits` fp32 [M, k, C], of the items that `packs.first_seen` is about.
    """
    return logits.masked_fill(_seen(packs), MASKED)


def _seen(packs: PackWindows) -> Tensor:
    """bool [M, k, C]: what the user has seen before each target."""
    return packs.first_seen[packs.row][:, None] < packs.position[..., None]


def against_negatives(own: Tensor, negative: Tensor, packs: PackWindows, n_items: int) -> Tensor:
    """Logits of the targets [M * k, 1] or [M, k], and of the negatives [M, k, S] -> [M * k, 1 + S].

    Each negative stands for n_items / S items: its logit rises by log(n_items / S), and the sum over the sample
    estimates that over the catalogue (Bengio and Senecal 2008). A target among the negatives does not count twice.
    """
    assert packs.negatives is not None
    # One mask, as each takes a pass over all logits there and one back.
    out = _seen(packs) | (packs.target[..., None] == packs.negatives)
    negative = (negative + math.log(n_items / len(packs.negatives))).masked_fill(out, MASKED)
    return torch.cat([own.view(-1, 1), negative.flatten(0, 1)], dim=1)
