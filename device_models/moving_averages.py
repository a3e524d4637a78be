"""Moving averages of a long history: the cheapest model here that looks back on 100 items, and the strongest.

The items' embeddings are averaged over several half-lives, from one item to the whole history, as in the
multi-dimensional damped average of Mega (Ma et al. 2022, arXiv:2209.10655); an MLP reads the averages. To the head of
`next_item.py` it adds a bias and a scale for each item. The bias serves popularity to a user without a history; both
together are what a world pack brings: what rises, what is new, what is over.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from mnet.device_models.next_item import NextItemModel, initialize

MODELS = {"recommendation": {"moving-averages": "MovingAverages"}}


@dataclass(frozen=True)
class MovingAveragesConfig:
    """Sizes of a MovingAverages.

    Attributes:
        n_items: size of the catalogue, given by the data set.
        width: of the item embeddings, a multiple of `averages`.
        history: items that it looks back on.
        averages: half-lives; each serves width / averages channels.
        blocks: residual blocks of the MLP.
        dropout: of whole items in the averages, and of activations.
    """

    n_items: int
    width: int = 32
    history: int = 100
    averages: int = 8
    blocks: int = 2
    dropout: float = 0.2


class DampedAverages(nn.Module):
    """Weighted means of a sequence, in each group of channels with a half-life of its own, which is learned.

    Args:
        width: channels, a multiple of `averages`.
        length: of the sequence, or more; the half-lives start between 1 and it.
        averages: how many half-lives there are.

    Raises:
        ValueError: `width` is not a multiple of `averages`.
    """

    age: Tensor
    past: Tensor

    def __init__(self, width: int, length: int, averages: int) -> None:
        super().__init__()
        if width % averages:
            raise ValueError(f"width {width} is not a multiple of averages {averages}")
        half_lives = torch.logspace(0, math.log10(length), averages)
        self.decay = nn.Parameter(torch.logit(0.5 ** (1 / half_lives)))
        age = torch.arange(length)[:, None] - torch.arange(length)
        self.register_buffer("age", age.clamp(min=0).float(), persistent=False)
        self.register_buffer("past", (age >= 0).float(), persistent=False)

    def forward(self, x: Tensor, kept: Tensor, last: int | None = None) -> Tensor:
        """`x` fp32 [B, length, width], `kept` fp32 [B, length], 0 for what does not count -> [B, last, width].

        Of all positions, or the `last` ones. At t, in each group, over s <= t:
        sum_s decay^(t-s) kept_s x_s / sum_s decay^(t-s) kept_s.
        """
        longest, length = len(self.age), x.shape[1]
        t = slice(longest - (length if last is None else last), None), slice(longest - length, None)
        # log(sigmoid(decay)), in an operation that CoreML has.
        rates = -functional.softplus(-self.decay)
        weights = torch.exp(rates[:, None, None] * self.age[t]) * self.past[t]
        x = (x * kept[..., None]).unflatten(2, (len(weights), -1))
        # Group by group, so that no group's weights are copied for each row of the batch.
        sums = (weights @ x.permute(2, 1, 0, 3).flatten(2)).unflatten(2, (len(x), -1))
        total = weights @ kept.T
        return (sums / total.clamp(min=1e-6)[..., None]).permute(2, 1, 0, 3).flatten(2)


class AveragedItemEncoder(nn.Module):
    """Item ids in, one vector a position out; position i sees the items up to i. 0 is padding, on the left."""

    def __init__(self, config: MovingAveragesConfig) -> None:
        super().__init__()
        self.item_embedding = nn.Embedding(config.n_items + 1, config.width, padding_idx=0)
        self.averages = DampedAverages(config.width, config.history, config.averages)
        self.averages_norm = nn.LayerNorm(config.width)
        self.blocks = nn.ModuleList(residual_mlp(config.width, config.dropout) for _ in range(config.blocks))
        self.dropout = nn.Dropout(config.dropout)
        self.norm = nn.LayerNorm(config.width)

    def forward(self, items: Tensor, last: int | None = None) -> Tensor:
        """`items` int64 [B, L] -> fp32 [B, L, d], or [B, last, d] of the last positions; zero for padding."""
        present = (items != 0).to(self.item_embedding.weight.dtype)
        embedded = self.item_embedding(items) * self.item_embedding.embedding_dim**0.5
        # Whole items are dropped from the averages, not single channels.
        x = self.dropout(self.averages_norm(self.averages(embedded, self.dropout(present), last)))
        for block in self.blocks:
            x = x + block(x)
        return self.norm(x) * present[:, -x.shape[1] :, None]


def residual_mlp(width: int, dropout: float) -> nn.Sequential:
    """What a residual block adds: LayerNorm, then an MLP of twice the width."""
    return nn.Sequential(
        nn.LayerNorm(width),
        nn.Linear(width, 2 * width),
        nn.GELU(),
        nn.Dropout(dropout),
        nn.Linear(2 * width, width),
    )


class MovingAverages(NextItemModel):
    """The device model: `encode` is the base, `head` holds the layers that the cloud generates."""

    config_class: ClassVar[type] = MovingAveragesConfig

    def __init__(self, config: MovingAveragesConfig) -> None:
        encoder = AveragedItemEncoder(config)
        super().__init__(encoder, config.width, config.history)
        self.config = config
        self.item_bias = nn.Embedding(config.n_items + 1, 1, padding_idx=0)
        self.item_scale = nn.Embedding(config.n_items + 1, 1, padding_idx=0)
        self.apply(initialize)
        nn.init.normal_(encoder.item_embedding.weight, std=0.05)
        with torch.no_grad():
            encoder.item_embedding.weight[0].zero_()
        nn.init.zeros_(self.item_bias.weight)
        nn.init.zeros_(self.item_scale.weight)

    def head(self, hidden: Tensor, candidates: Tensor | None = None) -> Tensor:
        """As `NextItemModel.head`, times 1 and each item's scale, plus its bias."""
        scores = super().head(hidden, candidates)
        if candidates is None:
            scale, bias = self.item_scale.weight[1:, 0], self.item_bias.weight[1:, 0]
        else:
            scale, bias = self.item_scale(candidates).squeeze(-1), self.item_bias(candidates).squeeze(-1)
        return scores * (1 + scale) + bias
