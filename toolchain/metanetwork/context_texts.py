"""Context encoder for texts: bytes, through causal convolutions, averaged over all that is there."""

from torch import Tensor, nn
from torch.nn import functional

from mnet.toolchain.metanetwork.context import ContextEncoder
from mnet.toolchain.metanetwork.context_sets import mean_and_spread

BYTES = 256
KERNEL, DILATIONS = 4, (1, 4)  # bytes that a feature sees: 4, then 16


class TextContext(ContextEncoder):
    """Mean and spread, over the bytes of a context, of features of the up to 16 bytes that end there, and an MLP.

    A context is int64 [B, T] of bytes, left-padded with 0.

    Args:
        width: of the vector.
        channels: features at each byte.
        dropout: of activations.
    """

    def __init__(self, width: int, channels: int = 64, dropout: float = 0.1) -> None:
        super().__init__()
        self.width = width
        self.embedding = nn.Embedding(BYTES, channels, padding_idx=0)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(channels, channels, KERNEL, dilation=dilation) for dilation in DILATIONS
        )
        self.all = nn.Sequential(
            nn.LayerNorm(2 * channels), nn.Linear(2 * channels, 2 * width), nn.GELU(), nn.Dropout(dropout),
            nn.Linear(2 * width, width), nn.LayerNorm(width),
        )  # fmt: skip
        self.bytes = nn.Linear(width, BYTES)

    def at_every_item(self, context: Tensor, last: int | None = None) -> Tensor:
        """`context` int64 [B, T] -> as `ContextEncoder.at_every_item`, from the bytes up to each."""
        present = (context != 0).unsqueeze(-1).float()
        x = self.embedding(context).transpose(1, 2)
        for convolution, dilation in zip(self.convolutions, DILATIONS, strict=True):
            before = functional.pad(x, (dilation * (KERNEL - 1), 0))
            x = x + functional.gelu(convolution(before)) * present.transpose(1, 2)
        count = present.cumsum(1)
        pooled = mean_and_spread(x.transpose(1, 2), count.clamp(min=1))
        kept = slice(None if last is None else -last, None)
        return self.all(pooled[:, kept]) * (count > 0)[:, kept]

    def scores(self, vector: Tensor) -> Tensor:
        """fp32 [..., width] -> logits of a byte of the device's [..., 256]."""
        return self.bytes(vector)
