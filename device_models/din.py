"""DIN: Deep Interest Network (Zhou et al., KDD 2018, arXiv:1706.06978).

Target attention: an activation unit weighs each item h of the history by its relevance to the candidate c, from
[h, c, h - c, h * c]; the weights are no softmax, so that they keep the strength of the interest. Their sum u goes with
the candidate, as [u, c, u * c] (as in the authors' code), through the MLP on top, whose layers the cloud generates.

PReLU instead of the paper's Dice, which normalizes by the batch as BatchNorm does: what is generated in front of it
would shift its statistics. Like the published model it knows no order within the history.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from mnet.device_models.next_item import initialize

MODELS = {"recommendation": {"din": "DIN"}}

# Scores at a time where candidates are shared, and rows that are taken to be there: with width 32, 100 MB of features.
# A module that runs for several packs sees those of one.
CHUNK, ROWS = 1 << 18, 512
# In training each item stands in many histories: up to so large a catalogue its pairs are weighed once, not in each.
WEIGHED_ONCE = 1 << 15


@dataclass(frozen=True)
class DINConfig:
    """Sizes of a DIN.

    Attributes:
        n_items: size of the catalogue, given by the data set.
        width: of the item embeddings.
        unit: width of the activation unit.
        history: items that it looks back on.
        dropout: of the item embeddings.
    """

    n_items: int
    width: int = 32
    unit: int = 16
    history: int = 10
    dropout: float = 0.2


class ActivationUnit(nn.Module):
    """How relevant an item of the history is to a candidate: Linear, PReLU, Linear on [h, c, h - c, h * c].

    The first Linear is held as three: what it makes of h and of c is computed once for each item, and only h * c for
    each pair. h - c has no weights of its own: they would add to those of h, and take from those of c.
    """

    def __init__(self, width: int, unit: int) -> None:
        super().__init__()
        self.of_history = nn.Linear(width, unit)
        self.of_candidate = nn.Linear(width, unit, bias=False)
        self.of_product = nn.Linear(width, unit, bias=False)
        self.activation = nn.PReLU()
        self.out = nn.Linear(unit, 1)

    def forward(self, history: Tensor, candidates: Tensor) -> Tensor:
        """`history` fp32 [..., L, d], `candidates` fp32 [..., C, d] -> fp32 [..., C, L]."""
        # (h * c) W = c (diag(h) W): one product of matrices, and no tensor [C, L, d].
        of_product = (history.unsqueeze(-2) * self.of_product.weight).flatten(-3, -2)
        pairs = (candidates @ of_product.transpose(-2, -1)).unflatten(-1, (history.shape[-2], -1))
        pairs = pairs + self.of_history(history).unsqueeze(-3) + self.of_candidate(candidates).unsqueeze(-2)
        weights: Tensor = self.out(self.activation(pairs)).squeeze(-1)
        return weights


class DIN(nn.Module):
    """The device model. Before the candidates are known there is nothing to compute: `encode` only cuts windows."""

    config_class: ClassVar[type] = DINConfig
    generated: ClassVar[tuple[str, ...]] = ("head_in.weight", "head_in.bias", "head_out.weight")

    up_to: Tensor

    def __init__(self, config: DINConfig) -> None:
        super().__init__()
        self.config = config
        self.history = config.history
        self.item_embedding = nn.Embedding(config.n_items + 1, config.width, padding_idx=0)
        self.unit = ActivationUnit(config.width, config.unit)
        self.dropout = nn.Dropout(config.dropout)
        self.head_in = nn.Linear(3 * config.width, config.width)
        # All candidates would get the same bias.
        self.head_out = nn.Linear(config.width, 1, bias=False)
        up_to = torch.ones(config.history, config.history, dtype=torch.int64).tril()
        self.register_buffer("up_to", up_to, persistent=False)
        self.apply(initialize)
        nn.init.normal_(self.item_embedding.weight[1:], std=0.1)

    def encode(self, history: Tensor, last: int | None = None) -> Tensor:
        """`history` int64 [B, L], 0 is padding -> the items up to each position, int64 [B, L or last, L].

        L is up to config.history.
        """
        length = history.shape[1]
        return history[:, None] * self.up_to[self.history - (last or length) :, self.history - length :]

    def head(self, hidden: Tensor, candidates: Tensor | None = None) -> Tensor:
        """Score items.

        With `candidates` int64 [B, C], `hidden` is int64 [B, L] and the logits are [B, C]. With candidates int64 [S],
        the same for all, `hidden` is [..., L] and the logits are [..., S]. Without, they are [..., n_items],
        item i in column i - 1.
        """
        if candidates is not None and candidates.dim() == 2:
            embedded = self.item_embedding(candidates)
            weights = self.unit(self.item_embedding(hidden), embedded)
            return self._score(hidden, embedded, weights)
        items = self.item_embedding.weight[1:] if candidates is None else self.item_embedding(candidates)
        once = candidates is not None and len(self.item_embedding.weight) <= WEIGHED_ONCE
        chunk = max(1, CHUNK // max(hidden.numel() // self.history, ROWS))
        return torch.cat([self._score_shared(hidden, part, once) for part in items.split(chunk)], dim=-1)

    def forward(self, history: Tensor, candidates: Tensor) -> Tensor:
        """`history` int64 [B, L], `candidates` int64 [B, C] -> fp32 [B, C], for the item that comes next."""
        return self.head(self.encode(history, last=1)[:, -1], candidates)

    def _score_shared(self, hidden: Tensor, items: Tensor, once: bool) -> Tensor:
        """`hidden` int64 [..., L], embeddings `items` fp32 [C, d] of candidates for all -> logits [..., C].

        The weight of a pair of items is the same in every history: each pair `once`, or in each history by itself.
        """
        if once:
            pairs = self.unit(self.item_embedding.weight, items)
            weights = functional.embedding(hidden, pairs.T).transpose(-2, -1)
        else:
            weights = self.unit(self.item_embedding(hidden), items)
        return self._score(hidden, items, weights)

    def _score(self, hidden: Tensor, candidates: Tensor, weights: Tensor) -> Tensor:
        """`hidden` int64 [..., L], `candidates` fp32 [(...,) C, d], `weights` fp32 [..., C, L] -> logits [..., C]."""
        # Padding adds nothing: its embedding is zero.
        interest = weights @ self.dropout(self.item_embedding(hidden))
        candidates = candidates.expand_as(interest).contiguous()  # cat is slow on a broadcast tensor
        features = torch.cat([interest, candidates, interest * candidates], dim=-1)
        logits: Tensor = self.head_out(torch.relu(self.head_in(features))).squeeze(-1)
        return logits
