"""Device models that the project was not made for, and kinds of layers to generate, on the sensors' windows [B, 4]."""

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from mnet.toolchain.tasks import Samples, SupervisedTask
from mnet.toolchain.tasks.supervised import SampleBatch
from tests.training.sensors import WINDOW


class Kind(nn.Module):
    """`use(self, x)` between two layers: from fp32 [B, 4, 8], to the mean over whatever it returns for each row."""

    def __init__(self, use: Callable[["Kind", Tensor], Tensor], **parts: nn.Module | nn.Parameter) -> None:
        super().__init__()
        self.lift = nn.Linear(1, 8)
        self.use = use
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, series: Tensor) -> Tensor:
        x = self.use(self, torch.tanh(self.lift(series[..., None])))
        weights = torch.cos(torch.arange(x[0].numel(), dtype=x.dtype)).to(x.device)
        return (x.flatten(1) * weights).mean(1)


def _layer(layer: nn.Module, before: str = "channels") -> tuple[Kind, list[str]]:
    def use(kind: Kind, x: Tensor) -> Tensor:
        if before == "channels":
            x = x.transpose(1, 2)
        elif before == "image":
            x = x.transpose(1, 2).unflatten(2, (2, 2)).repeat(1, 1, 2, 2)
        elif before == "vector":
            x = x.mean(1)
        out = kind.layer(x)
        return out[0] if isinstance(out, tuple) else out

    return Kind(use, layer=layer), [f"layer.{name}" for name, _ in layer.named_parameters()]


class _Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.of = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.of(x, x, x, need_weights=False)[0]
        return out


class _Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.of = nn.Bilinear(8, 8, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.of(x, x.flip(1))
        return out


class _Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.of = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.of(torch.relu(self.of(x)))
        return out


def _parameter(*shape: int) -> nn.Parameter:
    return nn.Parameter(0.5 + torch.rand(shape))


def _bare(use: Callable[[Kind, Tensor], Tensor], *shape: int) -> tuple[Kind, list[str]]:
    return Kind(use, value=_parameter(*shape)), ["value"]


def _only_bias() -> tuple[Kind, list[str]]:
    return _layer(nn.Linear(8, 8), "none")[0], ["layer.bias"]


def _rows_of_an_embedding() -> tuple[Kind, list[str]]:
    def use(kind: Kind, x: Tensor) -> Tensor:
        return x * kind.layer((x[..., 0] > 0).long())

    return Kind(use, layer=nn.Embedding(2, 8)), ["layer.weight"]


KINDS: dict[str, Callable[[], tuple[Kind, list[str]]]] = {
    "Conv1d": lambda: _layer(nn.Conv1d(8, 4, 3)),
    "Conv2d strided": lambda: _layer(nn.Conv2d(8, 4, 3, stride=2), "image"),
    "Conv2d grouped": lambda: _layer(nn.Conv2d(8, 8, 3, groups=4), "image"),
    "ConvTranspose2d": lambda: _layer(nn.ConvTranspose2d(8, 4, 2), "image"),
    "Linear without bias": lambda: _layer(nn.Linear(8, 3, bias=False), "none"),
    "bias only": _only_bias,
    "LayerNorm": lambda: _layer(nn.LayerNorm(8), "none"),
    "GroupNorm": lambda: _layer(nn.GroupNorm(2, 8)),
    "RMSNorm": lambda: _layer(nn.RMSNorm(8), "none"),
    "BatchNorm affine": lambda: _layer(nn.BatchNorm1d(8)),
    "scale [8]": lambda: _bare(lambda kind, x: x * kind.value, 8),
    "size 1": lambda: _bare(lambda kind, x: x * kind.value, 1),
    "0-d": lambda: _bare(lambda kind, x: x * kind.value),
    "position table": lambda: _bare(lambda kind, x: x + cast(Tensor, kind.value)[: x.shape[1]], 6, 8),
    "class token": lambda: _bare(
        lambda kind, x: torch.cat([kind.value.expand(len(x), -1, -1), x], 1), 1, 1, 8
    ),
    "PReLU": lambda: _layer(nn.PReLU(), "vector"),
    "PReLU by channel": lambda: _layer(nn.PReLU(8)),
    "Embedding rows": _rows_of_an_embedding,
    "MultiheadAttention": lambda: _layer(_Attention(), "none"),
    "GRU": lambda: _layer(nn.GRU(8, 4, batch_first=True), "none"),
    "LSTM": lambda: _layer(nn.LSTM(8, 4, batch_first=True), "none"),
    "Bilinear": lambda: _layer(_Pair(), "vector"),
    "x @ W": lambda: _bare(lambda kind, x: x @ kind.value, 8, 5),
    "weight_norm": lambda: _layer(nn.utils.parametrizations.weight_norm(nn.Linear(8, 3)), "none"),
    "used twice": lambda: _layer(_Twice(), "none"),
    "LoRA": lambda: (
        Kind(
            lambda kind, x: functional.linear(x, kind.base.weight + 0.5 * kind.up @ kind.down),
            base=nn.Linear(8, 8),
            up=_parameter(8, 2),
            down=_parameter(2, 8),
        ),
        ["up", "down"],
    ),
}


class TCN(nn.Module):
    """Causal dilated convolutions over a series (Bai et al. 2018, arXiv:1803.01271)."""

    generated: ClassVar[tuple[str, ...]] = ("second.weight", "second.bias", "out.weight", "out.bias")

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.first = nn.Conv1d(1, width, 2)
        self.norm = nn.BatchNorm1d(width)
        self.second = nn.Conv1d(width, width, 2, dilation=2)
        self.out = nn.Linear(width, 1)

    def forward(self, series: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.first(functional.pad(series[:, None], (1, 0)))))
        x = x + torch.relu(self.second(functional.pad(x, (2, 0))))
        return self.out(x[:, :, -1])[:, 0]


VOCABULARY, LENGTH = 12, 6


class NextToken(SupervisedTask):
    """Each device counts on by a step of its own: the next tokens of a text."""

    input_names: ClassVar[tuple[str, ...]] = ("tokens",)
    output_names: ClassVar[tuple[str, ...]] = ("logits",)
    metrics: ClassVar[tuple[str, ...]] = ("nats",)
    lower_is_better: ClassVar[tuple[str, ...]] = metrics

    @classmethod
    def load(cls, name: str, path: Path | None) -> Samples:
        generator = torch.Generator().manual_seed(0)
        device = torch.arange(30).repeat_interleave(40)
        start = torch.randint(VOCABULARY, (len(device), 1), generator=generator)
        text = (start + (1 + device[:, None] % 5) * torch.arange(LENGTH + 1)) % VOCABULARY
        return Samples((text[:, :-1].contiguous(),), text[:, 1:], device)

    def loss(self, outputs: Tensor, batch: SampleBatch) -> Tensor:
        return functional.cross_entropy(outputs.flatten(0, 1), self.targets(batch).flatten())

    def has_target(self, batch: SampleBatch) -> Tensor:
        return torch.ones(len(self.targets(batch)), dtype=torch.bool)

    def scores(self, outputs: Tensor, batch: SampleBatch) -> dict[str, Tensor]:
        each = functional.cross_entropy(outputs.transpose(1, 2), self.targets(batch), reduction="none")
        return {"nats": each.mean(1)}


class LanguageModel(nn.Module):
    """A causal transformer [B, L] -> [B, L, V] whose output layer is its embedding; q and v are generated."""

    generated: ClassVar[tuple[str, ...]] = ("query.weight", "value.weight")

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, width)
        self.position = nn.Parameter(0.1 * torch.randn(LENGTH, width))
        self.query, self.key, self.value, self.mix = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, VOCABULARY, bias=False)
        self.out.weight = self.embedding.weight
        mask = torch.full((LENGTH, LENGTH), -1e4).triu(1)
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens) + self.position
        y = self.norm(x)
        weights = torch.softmax(self.query(y) @ self.key(y).transpose(1, 2) * 0.25 + self.mask, dim=-1)
        x = x + self.mix(weights @ self.value(y))
        out: Tensor = self.out(x)
        return out


class Swinging(nn.Module):
    """Nothing more than a window's weighted sum, through a method of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.out, self.norm = nn.Linear(WINDOW, 1), nn.BatchNorm1d(1)
        self.idle = nn.Linear(WINDOW, 1)

    def forward(self, series: Tensor) -> Tensor:
        return self.out(series)[:, 0]
