"""Context encoders: what turns a device's recent samples into the one vector that parameters are generated from."""

from torch import Tensor, nn

from device_models.sasrec import CausalItemEncoder, SASRecConfig


class ItemContextEncoder(nn.Module):
    """Recent items -> one vector, by a causal self-attentive encoder of its own, wider and longer than the device's.

    It is causal so that one pass over a sequence gives the context vector of every cut of it: training then pays for
    one pass where a user has twenty packs.
    """

    def __init__(self, config: SASRecConfig) -> None:
        super().__init__()
        self.items = CausalItemEncoder(config)

    def forward(self, context: Tensor) -> Tensor:
        """`context` int64 [B, T], left-padded with 0 -> vector fp32 [B, width]."""
        return self.items(context)[:, -1]

    def at_every_item(self, context: Tensor) -> Tensor:
        """`context` int64 [B, T] -> fp32 [B, T, width]; entry t is the vector of the context that ends with item t."""
        return self.items(context)

    def scores(self, vector: Tensor) -> Tensor:
        """What the encoder itself expects next: `vector` [..., width] -> logits [..., n_items]."""
        return self.items.scores(vector)
