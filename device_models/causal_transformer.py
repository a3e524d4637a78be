"""A small causal language model on bytes: a decoder of pre-norm blocks (Vaswani et al. 2017; Radford et al. 2019).

Positions are those of ALiBi (Press, Smith and Lewis, ICLR 2022, arXiv:2108.12409): a penalty on attention that grows
with the distance, so that a window of any length up to `length` is read alike, wherever in it a text begins.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from mnet.device_models.sasrec import MASKED, CausalSelfAttention

MODELS = {"language": {"causal-transformer": "CausalTransformer"}}

BYTES = 256


@dataclass(frozen=True)
class CausalTransformerConfig:
    """Sizes of a CausalTransformer.

    Attributes:
        length: bytes of the longest text that it reads at once, given by the task.
        width: of the byte embeddings, a multiple of `heads`.
        blocks: of attention and MLP.
        heads: of attention.
        dropout: of embeddings, of attention and of activations.
    """

    length: int
    width: int = 128
    blocks: int = 4
    heads: int = 4
    dropout: float = 0.1


class TransformerBlock(nn.Module):
    """Attention, then an MLP four times as wide, each as x + dropout(f(LayerNorm(x)))."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = CausalSelfAttention(width, heads, dropout)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """`x` [B, L, d], `mask` [B, heads, L, L] -> [B, L, d]."""
        x = x + self.dropout(self.attention(self.attention_norm(x), mask))
        return x + self.dropout(self.mlp(self.mlp_norm(x)))


class CausalTransformer(nn.Module):
    """Bytes [B, L] -> logits of the byte after each, [B, L, 256]; 0 is padding, on the left.

    What the cloud generates are the weights of query and value of each block.
    """

    config_class: ClassVar[type] = CausalTransformerConfig

    place: Tensor
    slopes: Tensor

    def __init__(self, config: CausalTransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.generated = tuple(
            f"blocks.{block}.attention.{part}.weight"
            for block in range(config.blocks)
            for part in ("query", "value")
        )
        self.embedding = nn.Embedding(BYTES, config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(
            TransformerBlock(config.width, config.heads, config.dropout) for _ in range(config.blocks)
        )
        self.norm = nn.LayerNorm(config.width)
        slopes = 2.0 ** (-8.0 * (torch.arange(config.heads) + 1) / config.heads)
        self.register_buffer("place", torch.arange(config.length).float(), persistent=False)
        self.register_buffer("slopes", slopes[:, None, None], persistent=False)
        self.apply(self._initialize)

    def forward(self, text: Tensor) -> Tensor:
        """`text` int64 [B, L], L up to `length`, left-padded with 0 -> fp32 [B, L, 256]."""
        place = self.place[: text.shape[1]]
        back = place[:, None] - place  # how far: negative for what is still to come
        bias = (-back).clamp(0, 1) * MASKED - self.slopes * torch.relu(back)
        mask = bias + (text == 0).to(bias.dtype)[:, None, None, :] * MASKED
        x = self.dropout(self.embedding(text))
        for block in self.blocks:
            x = block(x, mask)
        return functional.linear(self.norm(x), self.embedding.weight)

    def _initialize(self, layer: nn.Module) -> None:
        if isinstance(layer, nn.Linear | nn.Embedding):
            nn.init.normal_(
                layer.weight, std=self.config.width**-0.5 if isinstance(layer, nn.Linear) else 0.02
            )
        if isinstance(layer, nn.Linear):
            nn.init.zeros_(layer.bias)
