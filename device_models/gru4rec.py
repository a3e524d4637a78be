"""GRU4Rec: session-based recommendation with a recurrent network (Hidasi et al., ICLR 2016, arXiv:1511.06939).

One GRU over item embeddings, tied with the output (the authors' "constrained embedding"), and the head of
`next_item.py` where the paper has its optional feed-forward layers. The recurrence is written out over the fixed
history, as Linear layers: torch.export unrolls it, every runtime takes its nodes, and padding leaves the state at zero.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from mnet.device_models.next_item import NextItemModel, initialize

MODELS = {"recommendation": {"gru4rec": "GRU4Rec"}}


@dataclass(frozen=True)
class GRU4RecConfig:
    """Sizes of a GRU4Rec.

    Attributes:
        n_items: size of the catalogue, given by the data set.
        width: of the item embeddings and of the state.
        history: items that it looks back on.
        dropout: of the item embeddings and of the states.
    """

    n_items: int
    width: int = 32
    history: int = 10
    dropout: float = 0.2


class RecurrentItemEncoder(nn.Module):
    """Item ids in, one state a position out. 0 is padding, on the left.

    Weights and formula are those of torch.nn.GRU, gates in the order reset, update, new.
    """

    def __init__(self, config: GRU4RecConfig) -> None:
        super().__init__()
        self.item_embedding = nn.Embedding(config.n_items + 1, config.width, padding_idx=0)
        self.dropout = nn.Dropout(config.dropout)
        self.input_gates = nn.Linear(config.width, 3 * config.width)
        self.state_gates = nn.Linear(config.width, 3 * config.width)

    def forward(self, items: Tensor, last: int | None = None) -> Tensor:
        """`items` int64 [B, L] -> fp32 [B, L, d], or [B, last, d] of the last positions; zero for padding."""
        embedded = self.item_embedding(items) * self.item_embedding.embedding_dim**0.5
        gates = self.input_gates(self.dropout(embedded))
        present = (items != 0).to(embedded.dtype)[:, :, None]
        state = torch.zeros_like(embedded[:, :1])
        states = []
        for step, known in zip(gates.split(1, dim=1), present.split(1, dim=1), strict=True):
            state = self._step(step, state) * known
            states.append(state)
        return self.dropout(torch.cat(states[-(last or len(states)) :], dim=1))

    def _step(self, gates: Tensor, state: Tensor) -> Tensor:
        """`gates` fp32 [B, 1, 3 d] of this step's item, `state` fp32 [B, 1, d] -> the next state."""
        # Slices, not chunk: XNNPACK takes them, and the recurrence stays one delegated graph.
        of_state, d = self.state_gates(state), state.shape[2]
        reset = torch.sigmoid(gates[..., :d] + of_state[..., :d])
        update = torch.sigmoid(gates[..., d : 2 * d] + of_state[..., d : 2 * d])
        new = torch.tanh(gates[..., 2 * d :] + reset * of_state[..., 2 * d :])
        return new + update * (state - new)


class GRU4Rec(NextItemModel):
    """The device model: `encode` is the base, `head` holds the layers that the cloud generates."""

    config_class: ClassVar[type] = GRU4RecConfig

    def __init__(self, config: GRU4RecConfig) -> None:
        super().__init__(RecurrentItemEncoder(config), config.width, config.history)
        self.config = config
        self.apply(initialize)
