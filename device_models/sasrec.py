"""SASRec: self-attentive sequential recommendation (Kang and McAuley, ICDM 2018, arXiv:1808.09781).

To the paper we add the head of `next_item.py`. Attention is written out as matmul and softmax with a finite mask, so
that torch.export and XNNPACK take every node.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from mnet.device_models.next_item import NextItemModel, initialize

MODELS = {"recommendation": {"sasrec": "SASRec"}}

# Softmax gives exactly 0 for it, in fp16 too; being finite it makes no NaN of a row that is all padding.
MASKED = -1e4


@dataclass(frozen=True)
class SASRecConfig:
    """Sizes of a SASRec.

    Attributes:
        n_items: size of the catalogue, given by the data set.
        width: of the item embeddings, a multiple of `heads`.
        blocks: of attention and MLP.
        heads: of attention.
        history: items that it looks back on.
        dropout: of the item embeddings, of attention and of activations.
    """

    n_items: int
    width: int = 32
    blocks: int = 1
    heads: int = 1
    history: int = 10
    dropout: float = 0.2


class CausalSelfAttention(nn.Module):
    """Multi-head self-attention under an additive mask. Raises ValueError when heads do not divide the width."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} is not a multiple of heads {heads}")
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """`x` [B, L, d], `mask` [B, 1, Q, L] added to the scores of the last Q positions -> [B, Q, d] for these."""
        query = self._split(self.query(x[:, -mask.shape[2] :]))
        key, value = self._split(self.key(x)), self._split(self.value(x))
        scores = query @ key.transpose(2, 3) * query.shape[-1] ** -0.5
        weights = self.dropout(torch.softmax(scores + mask, dim=-1))
        return self.out((weights @ value).transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        """[B, L, d] -> [B, heads, L, d / heads]."""
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)


class Block(nn.Module):
    """Attention, then a point-wise feed-forward net, each as x + dropout(f(LayerNorm(x))): the paper, section III."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = CausalSelfAttention(width, heads, dropout)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, width)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """`x` [B, L, d], `mask` [B, 1, Q, L] -> [B, Q, d] for the last Q positions."""
        x = x[:, -mask.shape[2] :] + self.dropout(self.attention(self.attention_norm(x), mask))
        return x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))


class CausalItemEncoder(nn.Module):
    """Item ids in, one vector a position out; position i sees the items up to i. 0 is padding, on the left."""

    causal_mask: Tensor

    def __init__(self, config: SASRecConfig) -> None:
        super().__init__()
        self.item_embedding = nn.Embedding(config.n_items + 1, config.width, padding_idx=0)
        self.position_embedding = nn.Parameter(torch.empty(config.history, config.width))
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(
            Block(config.width, config.heads, config.dropout) for _ in range(config.blocks)
        )
        self.norm = nn.LayerNorm(config.width)
        causal = torch.full((config.history, config.history), MASKED).triu(1)
        self.register_buffer("causal_mask", causal, persistent=False)

    def forward(self, items: Tensor, last: int | None = None) -> Tensor:
        """`items` int64 [B, L], L up to config.history -> fp32 [B, L, d], zero where the item is padding.

        A shorter history gives what it gives with padding in front. With `last`, only that many positions at the end,
        [B, last, d]: the last block works on them alone.
        """
        present = (items != 0).to(self.position_embedding.dtype)
        length = items.shape[1]
        # Not a slice: torch.export would take a history for shorter than the table, always.
        positions = self.position_embedding.narrow(0, len(self.position_embedding) - length, length)
        x = self.item_embedding(items) * self.item_embedding.embedding_dim**0.5 + positions
        x = self.dropout(x)
        mask = self._causal(length) + (1 - present)[:, None, None, :] * MASKED
        *inner, final = self.blocks
        for block in inner:
            x = block(x, mask)
        kept = last or length
        x = final(x, mask[:, :, -kept:])
        return self.norm(x) * present[:, -kept:, None]

    def _causal(self, length: int) -> Tensor:
        """What is added to the scores of `length` positions, fp32 [L, L]."""
        if isinstance(length, int):
            return self.causal_mask[:length, :length]
        # torch.export would take a view of the mask for the whole of it, or never.
        return torch.full((length, length), MASKED).triu(1)


class SASRec(NextItemModel):
    """The device model: `encode` is the base, `head` holds the layers that the cloud generates."""

    config_class: ClassVar[type] = SASRecConfig

    def __init__(self, config: SASRecConfig) -> None:
        encoder = CausalItemEncoder(config)
        super().__init__(encoder, config.width, config.history)
        self.config = config
        self.apply(initialize)
        nn.init.normal_(encoder.position_embedding, std=0.02)
