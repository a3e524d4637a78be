"""Context encoders for samples without order: a set of embeddings, or of plain numbers."""

import torch
from torch import Tensor, nn

from mnet.toolchain.metanetwork.context import ContextEncoder


class SetContext(ContextEncoder):
    """Mean and spread over the samples of what an MLP makes of each, then another MLP (Deep Sets, Zaheer et al. 2017).

    The spread (standard deviation) is a part of what a set shows: features that vary little tell of a camera, soft
    predictions that vary little of a narrow choice of classes. The logarithm of the mean prediction goes in as it is:
    added to a classifier's biases, it is the textbook correction for a device's class prior. The vector is the same
    for any order of the samples. A sample is an embedding fp32 [e], not all of it zero; a sample of zeros is padding.

    Args:
        features: e, the last `classes` of them soft predictions.
        width: of the vector.
        classes: of `scores`.
        dropout: of activations.
    """

    def __init__(self, features: int, width: int, classes: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.width = width
        self.each = nn.Sequential(
            nn.LayerNorm(features), nn.Linear(features, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        pooled = 2 * width + classes
        self.all = nn.Sequential(
            nn.LayerNorm(pooled), nn.Linear(pooled, 2 * width), nn.GELU(), nn.Dropout(dropout),
            nn.Linear(2 * width, width), nn.LayerNorm(width),
        )  # fmt: skip
        self.classes = nn.Linear(width, classes)

    def at_every_item(self, context: Tensor, last: int | None = None) -> Tensor:
        """`context` fp32 [B, n, e] -> as `ContextEncoder.at_every_item`, from the samples up to each."""
        present = (context != 0).any(dim=2, keepdim=True).to(context.dtype)
        x = self.each(context) * present
        count = present.cumsum(1).clamp(min=1)
        prediction = context[..., -self.classes.out_features :].cumsum(1) / count
        pooled = torch.cat([mean_and_spread(x, count), (prediction.clamp(min=0) + 0.01).log()], dim=2)
        kept = slice(None if last is None else -last, None)
        return self.all(pooled[:, kept]) * (present.cumsum(1) > 0)[:, kept]

    def scores(self, vector: Tensor) -> Tensor:
        """fp32 [..., width] -> logits of a sample's class [..., classes]."""
        return self.classes(vector)


class SampleSet(ContextEncoder):
    """Mean and spread over the samples of what an MLP makes of each, then another MLP (Deep Sets, Zaheer et al. 2017).

    A sample is `features` numbers of mean 0 and deviation 1, not all of them zero; a sample of zeros is padding.

    Args:
        features: numbers in a sample.
        width: of the vector.
    """

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.each = nn.Sequential(nn.Linear(features, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.all = nn.Sequential(
            nn.Linear(2 * width, 2 * width), nn.GELU(), nn.Linear(2 * width, width), nn.LayerNorm(width)
        )

    def at_every_item(self, context: Tensor, last: int | None = None) -> Tensor:
        """`context` fp32 [B, n, features] -> as `ContextEncoder.at_every_item`, from the samples up to each."""
        present = (context != 0).any(dim=2, keepdim=True).to(context.dtype)
        pooled = mean_and_spread(self.each(context) * present, present.cumsum(1).clamp(min=1))
        kept = slice(None if last is None else -last, None)
        return self.all(pooled[:, kept]) * (present.cumsum(1) > 0)[:, kept]


def mean_and_spread(x: Tensor, count: Tensor) -> Tensor:
    """fp32 [B, n, w], zero where `count` [B, n, 1] counts nothing -> mean and deviation up to each, [B, n, 2 w]."""
    mean = x.cumsum(1) / count
    variance = x.square().cumsum(1) / count - mean.square()
    return torch.cat([mean, (variance.clamp(min=0) + 1e-6).sqrt()], dim=2)
