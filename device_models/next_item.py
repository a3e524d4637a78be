"""What the next-item models share: a head that the cloud generates, between an encoder's state and the scores.

The published models score an item by the product of the encoder's state and the item's embedding. Between the two we
put a two-layer residual head; at zero it is the published model.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional


class NextItemModel(nn.Module):
    """An encoder of item sequences and a head.

    Args:
        encoder: a module `(items int64 [B, L], last) -> fp32 [B, L or last, width]` with an `item_embedding`.
        width: of its states.
        history: L.
    """

    generated: ClassVar[tuple[str, ...]] = (
        "head_in.weight",
        "head_in.bias",
        "head_out.weight",
        "head_out.bias",
    )

    def __init__(self, encoder: nn.Module, width: int, history: int) -> None:
        super().__init__()
        self.history = history
        self.encoder = encoder
        self.head_in = nn.Linear(width, width)
        self.head_out = nn.Linear(width, width)

    def encode(self, history: Tensor, last: int | None = None) -> Tensor:
        """`history` int64 [B, L], left-padded with 0 -> fp32 [B, L, d], or [B, last, d] of the last positions."""
        hidden: Tensor = self.encoder(history, last)
        return hidden

    def head(self, hidden: Tensor, candidates: Tensor | None = None) -> Tensor:
        """Score items.

        With `candidates` int64 [B, C], `hidden` is [B, d] and the logits are [B, C]. With candidates int64 [S],
        the same for all, `hidden` is [..., d] and the logits are [..., S]. Without, they are [..., n_items],
        item i in column i - 1.
        """
        hidden = hidden + self.head_out(torch.relu(self.head_in(hidden)))
        embedding = self.encoder.item_embedding
        assert isinstance(embedding, nn.Embedding)
        if candidates is None:
            return functional.linear(hidden, embedding.weight[1:])
        if candidates.dim() == 1:
            return functional.linear(hidden, embedding(candidates))
        return (embedding(candidates) @ hidden.unsqueeze(-1)).squeeze(-1)

    def forward(self, history: Tensor, candidates: Tensor) -> Tensor:
        """`history` int64 [B, L], `candidates` int64 [B, C] -> fp32 [B, C], for the item that comes next."""
        return self.head(self.encode(history, last=1)[:, -1], candidates)


def initialize(module: nn.Module) -> None:
    """For `Module.apply`: Xavier for Linear layers, small embeddings, zero for padding."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_normal_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
        with torch.no_grad():
            module.weight[0].zero_()
