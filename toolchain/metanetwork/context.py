"""Context encoders: what turns a device's recent samples into the one vector that weights are made from."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class ItemContextEncoder(nn.Module):
    """Recent items -> one vector: moving averages of their embeddings over several half-lives, then an MLP.

    A user's taste is a slow average, the present mood a quick one; the half-lives start between one item and
    the whole context and are learned, as in the multi-dimensional damped average of Mega (Ma et al. 2022,
    arXiv:2209.10655). With few users this beat causal self-attention and a GRU of the same width. The
    averages are causal, so one pass over a sequence gives the context vector of every cut of it.

    Args:
        n_items: size of the catalogue; ids are 1..n_items, 0 is padding.
        width: of the embeddings and of the vector, a multiple of `averages`.
        length: items of a context.
        averages: half-lives; each serves width / averages channels.
        blocks: of the MLP.
        dropout: of whole items in the averages, and of activations.

    Raises:
        ValueError: `width` is not a multiple of `averages`.
    """

    age: Tensor
    past: Tensor

    def __init__(
        self, n_items: int, width: int, length: int, averages: int = 8, blocks: int = 2, dropout: float = 0.2
    ) -> None:
        super().__init__()
        if width % averages:
            raise ValueError(f"width {width} is not a multiple of averages {averages}")
        self.item_embedding = nn.Embedding(n_items + 1, width, padding_idx=0)
        half_lives = torch.logspace(0, math.log10(length), averages)
        self.decay = nn.Parameter(torch.logit(0.5 ** (1 / half_lives)))
        self.averages_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(_mlp(width, dropout) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        age = torch.arange(length)[:, None] - torch.arange(length)
        self.register_buffer("age", age.clamp(min=0).float(), persistent=False)
        self.register_buffer("past", (age >= 0).float(), persistent=False)
        nn.init.normal_(self.item_embedding.weight, std=0.05)
        with torch.no_grad():
            self.item_embedding.weight[0].zero_()

    def forward(self, context: Tensor) -> Tensor:
        """`context` int64 [B, length], left-padded with 0 -> fp32 [B, width], zero for an empty context."""
        return self.at_every_item(context)[:, -1]

    def at_every_item(self, context: Tensor) -> Tensor:
        """`context` as above -> fp32 [B, length, width]; entry t is the vector of the context up to item t."""
        present = (context != 0).float()
        x = self.dropout(self.averages_norm(self._moving_averages(context, present)))
        for block in self.blocks:
            x = x + block(x)
        return self.norm(x) * present[..., None]

    def scores(self, vector: Tensor) -> Tensor:
        """What the vector by itself expects next: fp32 [..., width] -> logits [..., n_items], item i in i - 1."""
        return functional.linear(vector, self.item_embedding.weight[1:])

    def _moving_averages(self, context: Tensor, present: Tensor) -> Tensor:
        """fp32 [B, length, width]: in each group of channels sum_s decay^(t-s) x_s / sum_s decay^(t-s), s <= t."""
        weights = torch.sigmoid(self.decay)[:, None, None] ** self.age * self.past
        kept = self.dropout(present)[..., None]
        x = self.item_embedding(context) * self.item_embedding.embedding_dim**0.5 * kept
        x = x.unflatten(2, (len(weights), -1)).transpose(1, 2)
        total = weights @ kept[:, None]
        return (weights @ x / total.clamp(min=1e-6)).transpose(1, 2).flatten(2)


def _mlp(width: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        nn.LayerNorm(width),
        nn.Linear(width, 2 * width),
        nn.GELU(),
        nn.Dropout(dropout),
        nn.Linear(2 * width, width),
    )
