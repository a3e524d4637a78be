"""Cross-entropy of a softmax over many classes, where a CPU spends most of a training step."""

from typing import Any, cast

import torch
from torch import Tensor


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """`functional.cross_entropy(logits, target, ignore_index=-1)`, at half of its cost on a CPU.

    The softmax of the forward pass becomes the gradient in place, where PyTorch computes it again from its logarithm.

    Args:
        logits: [N, classes], of any float dtype.
        target: int64 [N], -1 where there is nothing to predict.

    Returns:
        The mean over the rows that have a target, 0 where none has; no row counts for more than 87, where the
        probability of its target is no longer a number in fp32.
    """
    return cast(Tensor, _CrossEntropy.apply(logits.float(), target))


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor) -> Tensor:
        probability = logits.softmax(dim=1)
        column = target.clamp(min=0)[:, None]
        share = (target >= 0)[:, None] / (target >= 0).sum().clamp(min=1)
        smallest = torch.finfo(logits.dtype).tiny
        loss = -(probability.gather(1, column).clamp(min=smallest).log() * share).sum()
        # d loss / d logits = share * (softmax - one-hot)
        ctx.gradient = probability.mul_(share).scatter_add_(1, column, -share)
        return loss

    @staticmethod
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, None]:
        # Taken, not copied: it is as large as the logits. A second backward pass fails.
        gradient, ctx.gradient = ctx.gradient, None
        return gradient.mul_(outer), None
