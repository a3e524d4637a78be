"""What modules do with their parameters: patterns of code, and layers."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

PACKS, ROWS = 3, 4


Use = Callable[..., Any]


class Pattern(nn.Module):
    """`use(module, x)` with a weight [4, 4], a gain [4], a table [6, 4] and some layers to use."""

    def __init__(self, use: Use, **layers: nn.Module) -> None:
        super().__init__()
        self.use = use
        self.weight = nn.Parameter(torch.randn(4, 4))
        self.gain = nn.Parameter(torch.rand(4) + 0.5)
        self.scalar = nn.Parameter(torch.rand(()) + 0.5)
        self.table = nn.Parameter(torch.randn(6, 4))
        self.low = nn.Parameter(torch.randn(4, 2))
        self.rank = nn.Parameter(torch.randn(2, 4))
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.register_buffer("items", torch.randn(PACKS * ROWS, 4))

    def forward(self, x: Tensor) -> Any:
        return self.use(self, x)


def written(x: Tensor, value: Tensor) -> Tensor:
    out = x.clone()
    out[:, 1:3] = value[:, 1:3]
    return out


def masked(x: Tensor) -> Tensor:
    out = x.clone()
    out[x > 0] = 0.5
    return out


def added(x: Tensor, value: Tensor) -> Tensor:
    out = x * 1
    out += value
    return out


def zeros(m: Any, x: Tensor) -> Tensor:
    out = torch.zeros(len(x), 4)
    out[:, :2] = (x @ m.weight)[:, :2]
    return out


def deciding(m: Any, x: Tensor) -> Tensor:
    y = x @ m.weight
    return y if float(y.sum()) > 0 else -2 * y


PATTERNS: dict[str, Use] = {
    "matmul": lambda m, x: x @ m.weight,
    "transposed": lambda m, x: x @ m.weight.T,
    "exponential": lambda m, x: x + m.gain.exp(),
    "row of a table": lambda m, x: x + m.table[0],
    "slice of a table": lambda m, x: x[:, None] + m.table[:3],
    "gain times table": lambda m, x: x[:, None] + m.gain * m.table,
    "weight times gain": lambda m, x: functional.linear(x, m.weight * m.gain),
    "expand": lambda m, x: torch.cat([m.gain.expand(len(x), 1, 4), x[:, None]], 1),
    "class token": lambda m, x: torch.cat([m.table[None, :1].expand(len(x), -1, -1), x[:, None]], 1).sum(1),
    "LoRA": lambda m, x: functional.linear(x, m.weight + 0.5 * m.low @ m.rank),
    "LoRA by factors": lambda m, x: functional.linear(x, m.weight) + 2 * (x @ m.rank.T) @ m.low.T,
    "time first": lambda m, x: functional.linear(x.expand(5, *x.shape).cumsum(0), m.weight, m.gain).sum(0),
    "time first norm": lambda m, x: functional.layer_norm(
        (x.expand(6, *x.shape) * torch.arange(6.0).view(6, 1, 1)), (4,), m.gain, m.table[1]
    ).transpose(0, 1),
    "folded time before batch": lambda m, x: (
        functional.linear(x.repeat(6, 1), m.weight).unflatten(0, (6, -1)).mean(0)
    ),
    "both ways": lambda m, x: (
        functional.linear(torch.cat([x, x.flip(1)], 0), m.weight).unflatten(0, (2, -1)).sum(0)
    ),
    "tower over items": lambda m, x: x @ functional.linear(m.items, m.weight, m.gain).T,
    "generated table of items": lambda m, x: x @ m.table.T,
    "rows by index": lambda m, x: functional.embedding((x[:, 0] > 0).long(), m.table) * x,
    "0-d": lambda m, x: x * m.scalar,
    "0-d from the left": lambda m, x: (1 - m.scalar) * x,
    "einsum": lambda m, x: torch.einsum("bi,ij,bj->b", x, m.weight, x),
    "stacked": lambda m, x: x @ torch.stack([m.weight, m.weight.T]).sum(0),
    "softmax of a weight": lambda m, x: x @ m.weight.square().softmax(1),
    "linear of a weight": lambda m, x: functional.linear(m.weight, x).T,
    "no batch in a row": lambda m, x: functional.linear(x.sum(0), m.weight, m.gain).expand_as(x) * x,
    "vector of one output": lambda m, x: functional.linear(x, m.gain),
    "batch in a shape": lambda m, x: (x.reshape(x.size(0), 2, -1) * m.gain.view(2, 2)).reshape(len(x), -1),
    "tuple": lambda m, x: (x @ m.weight, (x * m.gain).sum(1)),
    "dict": lambda m, x: {"a": x @ m.weight, "b": [x * m.gain, 3]},
    "slice written": lambda m, x: written(x, x @ m.weight),
    "mask assigned": lambda m, x: masked(x @ m.weight),
    "added in place": lambda m, x: added(x, x @ m.weight),
    "checkpoint": lambda m, x: checkpoint(lambda y: torch.tanh(y @ m.weight), x, use_reentrant=False),
    "checkpoint reentrant": lambda m, x: checkpoint(
        lambda y: torch.tanh(y @ m.weight), x, use_reentrant=True
    ),
    "nested vmap": lambda m, x: torch.vmap(lambda row: functional.linear(row, m.weight))(x),
    "masked attention": lambda m, x: functional.scaled_dot_product_attention(  # type: ignore[call-arg]
        (x @ m.weight).view(-1, 1, 2, 2),
        *[x.view(-1, 1, 2, 2)] * 2,
        (x.view(-1, 1, 1, 4)[..., :2] > 0) | torch.tensor([True, False]),
    ).flatten(1),
    "attention under a bias": lambda m, x: functional.scaled_dot_product_attention(  # type: ignore[call-arg]
        *[x[..., None]] * 3, m.table[:4] * m.gain
    )[..., 0],
    "attention": lambda m, x: functional.scaled_dot_product_attention(
        x.view(1, 1, -1, 4), functional.linear(x, m.weight).view(1, 1, -1, 4), x.view(1, 1, -1, 4)
    )[0, 0],
}


def vector(*inner: int) -> Tensor:
    return torch.randn(PACKS * ROWS, *inner)


class First(nn.Module):
    """The first of what a layer returns."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x)[0]
        return out


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.attention(x, x, x)[0]
        return out


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(torch.relu(self.layer(x)))
        return out


class Bilinear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Bilinear(4, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x, x.flip(1))
        return out


LAYERS: dict[str, Callable[[], tuple[nn.Module, Tensor]]] = {
    "linear": lambda: (nn.Linear(4, 3), vector(4)),
    "linear of sequences": lambda: (
        nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)),
        vector(5, 2, 4),
    ),
    "linear without bias": lambda: (nn.Linear(4, 3, bias=False), vector(4)),
    "conv of 1x1": lambda: (nn.Conv2d(4, 5, 1), vector(4, 6, 6)),
    "conv of 1x1 with channels last": lambda: (
        nn.Conv2d(4, 5, 1),
        vector(4, 6, 6).contiguous(memory_format=torch.channels_last),
    ),
    "conv of 1x1 in groups": lambda: (nn.Conv2d(4, 6, 1, groups=2), vector(4, 6, 6)),
    "conv of 1x1 with stride": lambda: (nn.Conv2d(4, 5, 1, stride=2, bias=False), vector(4, 6, 6)),
    "conv of 3x3": lambda: (
        nn.Sequential(nn.Conv2d(4, 5, 3, padding=1), nn.ReLU(), nn.Conv2d(5, 2, (3, 1))),
        vector(4, 6, 6),
    ),
    "conv dilated": lambda: (nn.Conv2d(4, 5, 3, padding="same", dilation=2, bias=False), vector(4, 6, 6)),
    "conv depthwise": lambda: (nn.Conv2d(4, 8, 3, stride=2, groups=4), vector(4, 6, 6)),
    "conv reflecting": lambda: (nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"), vector(4, 6, 6)),
    "conv 1-d": lambda: (nn.Conv1d(4, 5, 3, dilation=2), vector(4, 9)),
    "conv transposed": lambda: (nn.ConvTranspose2d(4, 3, 3, stride=2), vector(4, 4, 4)),
    "layer norm": lambda: (nn.LayerNorm((5, 4)), vector(5, 4)),
    "rms norm": lambda: (nn.RMSNorm(4), vector(5, 4)),
    "group norm": lambda: (nn.GroupNorm(2, 4), vector(4, 6, 6)),
    "instance norm": lambda: (nn.InstanceNorm2d(4, affine=True), vector(4, 6, 6)),
    "batch norm": lambda: (nn.BatchNorm2d(4).eval(), vector(4, 6, 6)),
    "batch norm of vectors": lambda: (nn.BatchNorm1d(4).eval(), vector(4)),
    "prelu": lambda: (nn.Sequential(nn.PReLU(), nn.PReLU(4)), vector(4, 5)),
    "embedding": lambda: (
        nn.Sequential(nn.Linear(4, 4), nn.Flatten(1), nn.LayerNorm(4)),
        vector(4),
    ),
    "attention": lambda: (Attention(), vector(5, 4)),
    "transformer layer": lambda: (
        nn.TransformerEncoderLayer(4, 2, 8, batch_first=True).eval(),
        vector(5, 4),
    ),
    "gru": lambda: (First(nn.GRU(4, 3, batch_first=True)), vector(5, 4)),
    "gru behind a layer": lambda: (
        nn.Sequential(nn.Linear(4, 4), First(nn.GRU(4, 3, 2, batch_first=True, bidirectional=True))),
        vector(5, 4),
    ),
    "lstm behind a layer": lambda: (
        nn.Sequential(nn.Linear(4, 4), First(nn.LSTM(4, 3, batch_first=True))),
        vector(5, 4),
    ),
    "lstm": lambda: (First(nn.LSTM(4, 3, batch_first=True)), vector(5, 4)),
    "rnn": lambda: (First(nn.RNN(4, 3, batch_first=True)), vector(5, 4)),
    "bilinear": lambda: (Bilinear(), vector(4)),
    "weight norm": lambda: (nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)), vector(4)),
    "used twice": lambda: (Twice(), vector(4)),
}
