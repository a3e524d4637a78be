"""Context encoders for sequences of item ids: moving averages, a GRU, self-attention."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from mnet.device_models.moving_averages import DampedAverages, residual_mlp
from mnet.toolchain.metanetwork.context import ContextEncoder


class ItemContextEncoder(ContextEncoder):
    """The part that they share: embeddings of the items, which also score what the vector expects next.

    A context is int64 [B, T], T up to `length`, ids 1..n_items, left-padded with 0. How many items of padding there
    are makes no difference to a vector.

    Attributes:
        length: the most items that a context holds.
    """

    def __init__(self, n_items: int, width: int, length: int, dropout: float) -> None:
        super().__init__()
        self.width = width
        self.length = length
        self.item_embedding = nn.Embedding(n_items + 1, width, padding_idx=0)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(width)
        nn.init.normal_(self.item_embedding.weight, std=0.05)
        with torch.no_grad():
            self.item_embedding.weight[0].zero_()

    def scores(self, vector: Tensor, candidates: Tensor | None = None) -> Tensor:
        """fp32 [..., width] -> logits of the next item [..., n_items], item i in column i - 1.

        Of candidates int64 [S], the same for all, [..., S]; of int64 [M, C] for `vector` [M, width], [M, C].
        """
        if candidates is None:
            return functional.linear(vector, self.item_embedding.weight[1:])
        if candidates.dim() == 1:
            return functional.linear(vector, self.item_embedding(candidates))
        return (self.item_embedding(candidates) @ vector.unsqueeze(-1)).squeeze(-1)

    def _embed(self, context: Tensor) -> Tensor:
        return self.item_embedding(context) * self.item_embedding.embedding_dim**0.5


class MovingAverages(ItemContextEncoder):
    """Moving averages of the items' embeddings over several half-lives, then an MLP.

    A user's taste is a slow average, the present mood a quick one; the half-lives start between one item and
    the whole context and are learned, see `mnet.device_models.moving_averages`. With few users this beat causal
    self-attention and a GRU of the same width.

    Args:
        n_items: size of the catalogue.
        width: of the embeddings and of the vector, a multiple of `averages`.
        length: items of a context.
        averages: half-lives; each serves width / averages channels.
        blocks: of the MLP.
        dropout: of whole items in the averages, and of activations.

    Raises:
        ValueError: `width` is not a multiple of `averages`.
    """

    def __init__(
        self, n_items: int, width: int, length: int, averages: int = 8, blocks: int = 2, dropout: float = 0.2
    ) -> None:
        super().__init__(n_items, width, length, dropout)
        self.averages = DampedAverages(width, length, averages)
        self.averages_norm = nn.LayerNorm(width)
        self.blocks = nn.ModuleList(residual_mlp(width, dropout) for _ in range(blocks))

    def at_every_item(self, context: Tensor, last: int | None = None) -> Tensor:
        """As `ContextEncoder.at_every_item`; T = `length`."""
        present = context != 0
        averages = self._moving_averages(context, present, last)
        return self._vectors(averages, present[:, -averages.shape[1] :])

    def at_cuts(self, context: Tensor, row: Tensor, cut: Tensor) -> Tensor:
        """As `ContextEncoder.at_cuts`; what comes after the averages is computed for the cuts alone."""
        present = context != 0
        return self._vectors(self._moving_averages(context, present)[row, cut], present[row, cut])

    def _vectors(self, averages: Tensor, present: Tensor) -> Tensor:
        """`averages` fp32 [..., width], `present` bool [...] -> fp32 [..., width]."""
        x = self.dropout(self.averages_norm(averages))
        for block in self.blocks:
            x = x + block(x)
        return self.norm(x) * present[..., None]

    def _moving_averages(self, context: Tensor, present: Tensor, last: int | None = None) -> Tensor:
        """fp32 [B, length or last, width]."""
        averages: Tensor = self.averages(self._embed(context), self.dropout(present.float()), last)
        return averages


class GRUContext(ItemContextEncoder):
    """A GRU over the items.

    Args:
        n_items: size of the catalogue.
        width: of the embeddings and of the vector.
        length: items of a context.
        blocks: layers of the GRU.
        dropout: of embeddings, and between layers.
    """

    def __init__(self, n_items: int, width: int, length: int, blocks: int = 1, dropout: float = 0.2) -> None:
        super().__init__(n_items, width, length, dropout)
        self.gru = nn.GRU(width, width, blocks, batch_first=True, dropout=dropout if blocks > 1 else 0.0)

    def at_every_item(self, context: Tensor, last: int | None = None) -> Tensor:
        """As `ContextEncoder.at_every_item`."""
        present = context != 0
        # The state must still be zero at the first item, so the items move to the left while the GRU runs.
        place = torch.arange(context.shape[1], device=context.device)
        padding = present.int().argmax(dim=1, keepdim=True)
        items = context.gather(1, (place + padding) % len(place))
        x = self.gru(self.dropout(self._embed(items)))[0]
        x = x.gather(1, (place - padding).clamp(min=0)[..., None].expand_as(x))
        kept = slice(None if last is None else -last, None)
        return self.norm(x[:, kept]) * present[:, kept, None]


class SelfAttentionContext(ItemContextEncoder):
    """Causal self-attention over the items; a learned bias of each head for each distance stands for their order.

    Distances, not positions (Shaw et al., NAACL 2018; the bias as in T5), so that a vector depends on the items
    up to it and not on where in a batch they lie.

    Args:
        n_items: size of the catalogue.
        width: of the embeddings and of the vector, a multiple of `heads`.
        length: items of a context.
        blocks: of attention and MLP.
        heads: of attention.
        dropout: of embeddings and activations.

    Raises:
        ValueError: `width` is not a multiple of `heads`.
    """

    def __init__(
        self, n_items: int, width: int, length: int, blocks: int = 2, heads: int = 2, dropout: float = 0.2
    ) -> None:
        if width % heads:
            raise ValueError(f"width {width} is not a multiple of heads {heads}")
        super().__init__(n_items, width, length, dropout)
        self.attention = nn.ModuleList(_Attention(width, heads, length, dropout) for _ in range(blocks))
        self.blocks = nn.ModuleList(residual_mlp(width, dropout) for _ in range(blocks))

    def at_every_item(self, context: Tensor, last: int | None = None) -> Tensor:
        """As `ContextEncoder.at_every_item`."""
        present = context != 0
        x = self.dropout(self._embed(context))
        for attention, block in zip(self.attention, self.blocks, strict=True):
            x = x + attention(x, present)
            x = x + block(x)
        kept = slice(None if last is None else -last, None)
        return self.norm(x[:, kept]) * present[:, kept, None]


class _Attention(nn.Module):
    """LayerNorm, then multi-head attention of each position to itself and to the items before it."""

    age: Tensor

    def __init__(self, width: int, heads: int, length: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.distance = nn.Parameter(torch.zeros(heads, length))
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("age", torch.arange(length)[:, None] - torch.arange(length), persistent=False)

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        """fp32 [B, T, width], bool [B, T] -> fp32 [B, T, width]."""
        age = self.age[: x.shape[1], : x.shape[1]]
        # Padding sees itself: a row that sees nothing would be NaN.
        seen = (age >= 0) & (present[:, None, None] | (age == 0))
        mask = self.distance[:, age.clamp(min=0)].masked_fill(~seen, -torch.inf)
        query, key, value = (
            part.unflatten(2, (len(self.distance), -1)).transpose(1, 2)
            for part in self.query_key_value(self.norm(x)).chunk(3, dim=2)
        )
        y = functional.scaled_dot_product_attention(query, key, value, mask)
        return self.dropout(self.out(y.transpose(1, 2).flatten(2)))


SEQUENCE_ENCODERS: dict[str, type[ItemContextEncoder]] = {
    "moving-averages": MovingAverages,
    "gru": GRUContext,
    "self-attention": SelfAttentionContext,
}
