"""What every context encoder offers: it turns a device's recent samples into the one vector that weights are made from.

`context_sequences` has those for item ids, in order; `context_sets` the one for embeddings, in any order.
"""

from abc import ABC, abstractmethod

from torch import Tensor, nn


class ContextEncoder(nn.Module, ABC):
    """From contexts of up to T samples, left-padded with zeros, to vectors fp32 [B, width].

    The vector of an empty context is zero. Encoders are causal: one pass gives the vector of every cut.
    """

    width: int

    @abstractmethod
    def at_every_item(self, context: Tensor, last: int | None = None) -> Tensor:
        """`context` [B, T, ...] -> fp32 [B, T, width], or [B, last, width] of the last positions.

        Entry t is the vector of the context up to sample t.
        """

    def at_cuts(self, context: Tensor, row: Tensor, cut: Tensor) -> Tensor:
        """The vectors of some cuts alone, fp32 [M, width]: row `row[m]` of the batch up to its sample `cut[m]`."""
        return self.at_every_item(context)[row, cut]

    def scores(self, vector: Tensor) -> Tensor:
        """What the vector by itself predicts: fp32 [..., width] -> logits [..., classes].

        Only a task with a `context_loss` asks for it.
        """
        raise NotImplementedError(f"{type(self).__name__} has no scores")

    def forward(self, context: Tensor) -> Tensor:
        """`context` [B, T, ...] -> fp32 [B, width]."""
        return self.at_every_item(context, last=1)[:, -1]
