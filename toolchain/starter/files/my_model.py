"""The device model: a base that a phone keeps, and a head whose weights the cloud generates."""

import torch
from torch import Tensor, nn


class MyModel(nn.Module):
    """Next-item recommendation: the mean of the last items, and a head of two layers."""

    generated = ("hidden.weight", "hidden.bias", "out.weight", "out.bias")

    def __init__(self, n_items: int, history: int = 5, width: int = 32) -> None:
        super().__init__()
        self.history = history
        self.items = nn.Embedding(n_items + 1, width, padding_idx=0)
        self.hidden = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def encode(self, history: Tensor, last: int = 1) -> Tensor:
        """The last items, ids [B, history], 0 where there was none -> [B, 1, width]."""
        return self.items(history).mean(dim=1, keepdim=True)

    def head(self, state: Tensor, candidates: Tensor | None = None) -> Tensor:
        """A score for each candidate, ids [B, C]; without them, for every item."""
        taste = state + self.out(torch.relu(self.hidden(state)))
        if candidates is None:
            return taste @ self.items.weight[1:].T
        return (self.items(candidates) @ taste.unsqueeze(-1)).squeeze(-1)

    def forward(self, history: Tensor, candidates: Tensor) -> Tensor:
        """What the phone runs: [1, history] and [1, C] -> [1, C]."""
        return self.head(self.encode(history)[:, -1], candidates)
