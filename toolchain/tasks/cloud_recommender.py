"""The larger model that a cloud would serve from: what a device model is measured against, and taught by."""

from torch import Tensor, nn

from mnet.toolchain.metanetwork import MovingAverages

MODELS = {"recommendation": {"moving-averages": "CloudRecommender"}}


class CloudRecommender(nn.Module):
    """The context encoder as a recommender of its own: the state after every item scores the next one.

    Of what we tried on whole histories it ranks best, and learns quickest; settings are those of `MovingAverages`.

    Args:
        n_items: size of the catalogue.
        width: of embeddings and state.
        history: items that it looks back on.
    """

    def __init__(
        self,
        n_items: int,
        width: int = 128,
        history: int = 100,
        averages: int = 8,
        blocks: int = 2,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.history = history
        self.encoder = MovingAverages(n_items, width, history, averages, blocks, dropout)

    def encode(self, history: Tensor, last: int | None = None) -> Tensor:
        """`history` int64 [B, L], left-padded with 0 -> fp32 [B, L or last, width]."""
        return self.encoder.at_every_item(history, last)

    def head(self, hidden: Tensor, candidates: Tensor | None = None) -> Tensor:
        """Score items, as `mnet.device_models.next_item.NextItemModel.head` does."""
        return self.encoder.scores(hidden, candidates)
