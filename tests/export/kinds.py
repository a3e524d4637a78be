"""Every kind of generated parameter as a tiny device model, and what each target makes of it.

`python -m tests.export.kinds` exports each kind for each target, verifies it, and writes the table of docs/kinds.md.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mnet.export.lowering.spec import ExportSpec
from mnet.toolchain.metanetwork.factors import with_factors

WIDTH, LENGTH = 8, 6


class Chain(nn.Module):
    """x [1, 8] or, with `shape`, whatever -> base -> relu -> generated `layer` -> scores."""

    def __init__(self, base: nn.Module, layer: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.base, self.layer, self.head = base, layer, head

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(torch.relu(self.base(x))))


class Mean(nn.Module):
    """The mean over all dimensions but the first two, after a tanh."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x).flatten(2).mean(2)


def _vector(layer: nn.Module) -> nn.Module:
    return Chain(nn.Linear(WIDTH, WIDTH), layer, nn.Sequential(nn.Tanh(), nn.Linear(layer_width(layer), 4)))


def layer_width(layer: nn.Module) -> int:
    return int(getattr(layer, "out_features", WIDTH))


def _image(layer: nn.Module) -> nn.Module:
    return Chain(nn.Conv2d(3, WIDTH, 3, padding=1), layer, Mean())


class Scaled(nn.Module):
    """x [1, 7] times a gain of shape `shape`."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.base, self.head = nn.Linear(WIDTH, 7), nn.Linear(7, 4)
        self.scale = nn.Parameter(torch.rand(shape) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.base(x)) * self.scale)


class Positions(nn.Module):
    """History [1, 6] -> items plus a table of positions -> attention-like mean -> scores [1, 4]."""

    def __init__(self) -> None:
        super().__init__()
        self.items, self.head = nn.Embedding(20, WIDTH), nn.Linear(WIDTH, 4)
        self.positions = nn.Parameter(torch.randn(LENGTH, WIDTH))

    def forward(self, history: Tensor) -> Tensor:
        return self.head(torch.tanh(self.items(history) + self.positions).mean(1))


class ClassToken(nn.Module):
    """Patches [1, 6, 8] with a class token before them -> scores [1, 4] from a softmax over all."""

    def __init__(self) -> None:
        super().__init__()
        self.base, self.head = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 4)
        self.token = nn.Parameter(torch.randn(1, 1, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), self.base(x)], 1)
        weights = torch.softmax(x[:, :1] @ x.transpose(1, 2), -1)
        return self.head((weights @ x)[:, 0])


class Rows(nn.Module):
    """History [1, 6] -> generated item vectors -> scores [1, 4]."""

    def __init__(self) -> None:
        super().__init__()
        self.items, self.head = nn.Embedding(20, WIDTH), nn.Linear(WIDTH, 4)

    def forward(self, history: Tensor) -> Tensor:
        return self.head(torch.tanh(self.items(history)).mean(1))


class Attention(nn.Module):
    """Sequence [1, 6, 8] -> self-attention with generated projections -> scores [1, 4]."""

    def __init__(self) -> None:
        super().__init__()
        self.base, self.head = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 4)
        self.layer = nn.MultiheadAttention(WIDTH, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.base(x)
        return self.head(self.layer(x, x, x, need_weights=False)[0].mean(1))


class Recurrent(nn.Module):
    """Sequence [1, 6, 8] -> generated recurrent layer -> scores [1, 4]."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.base, self.layer, self.head = nn.Linear(WIDTH, WIDTH), layer, nn.Linear(WIDTH, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(self.base(x))[0][:, -1])


class Pair(nn.Module):
    """Two halves of x [1, 8] -> Bilinear -> scores [1, 4]."""

    def __init__(self) -> None:
        super().__init__()
        self.base, self.layer, self.head = nn.Linear(WIDTH, WIDTH), nn.Bilinear(4, 4, 5), nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.base(x).chunk(2, -1)
        return self.head(self.layer(first, second))


class Product(nn.Module):
    """x @ W with a parameter of the model's own."""

    def __init__(self) -> None:
        super().__init__()
        self.base, self.head = nn.Linear(WIDTH, WIDTH), nn.Linear(5, 4)
        self.weight = nn.Parameter(torch.randn(WIDTH, 5) / 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(torch.relu(self.base(x)) @ self.weight))


class Twice(nn.Module):
    """One generated Linear, used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.layer(torch.tanh(self.layer(x)))))


def _weight_norm() -> nn.Module:
    return _vector(nn.utils.parametrizations.weight_norm(nn.Linear(WIDTH, WIDTH)))


def _batch_norm() -> nn.Module:
    layer = nn.BatchNorm2d(WIDTH)
    nn.init.uniform_(layer.running_mean)
    nn.init.uniform_(layer.running_var, 0.5, 2.0)
    return _image(layer)


def _factored(model: nn.Module, weight: str) -> nn.Module:
    """The model with factors of rank 1 in place of the weight."""
    with_factors(model, (weight,), 1)
    return model


def _peft(model: nn.Module, target: str) -> nn.Module:
    """The model with PEFT's LoRA of rank 2 in a layer."""
    from peft import LoraConfig, inject_adapter_in_model

    inject_adapter_in_model(LoraConfig(r=2, lora_alpha=4, target_modules=[target]), model)
    for parameter in model.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter, std=0.3)
    return model


@dataclass(frozen=True)
class Kind:
    """A kind of generated parameter: `shape` is that of the one input, `ids` says that it holds item ids."""

    name: str
    build: Callable[[], nn.Module]
    generated: tuple[str, ...]
    shape: tuple[int, ...] = (1, WIDTH)
    ids: bool = False

    def spec(self) -> ExportSpec:
        """An export of it with two golden samples; the same weights at each call."""
        torch.manual_seed(0)
        model = self.build().eval()
        draw = (lambda: torch.randint(0, 20, self.shape)) if self.ids else (lambda: torch.randn(self.shape))
        return ExportSpec(self.name, model, self.generated, ((draw(),), (draw(),)), ("x",), ("scores",))


_LAYER = ("layer.weight", "layer.bias")
_IMAGE, _SERIES, _SEQUENCE = (1, 3, 8, 8), (1, 3, 12), (1, LENGTH, WIDTH)
_LORA = ("layer.lora_A.default.weight", "layer.lora_B.default.weight")
_GATES = tuple(f"layer.{part}_l0" for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))

KINDS = (
    Kind("Linear", lambda: _vector(nn.Linear(WIDTH, 5)), _LAYER),
    Kind(
        "Conv1d",
        lambda: Chain(nn.Conv1d(3, WIDTH, 3), nn.Conv1d(WIDTH, WIDTH, 3, dilation=2), Mean()),
        _LAYER,
        _SERIES,
    ),
    Kind("Conv2d, strided", lambda: _image(nn.Conv2d(WIDTH, 6, 3, stride=2, padding=1)), _LAYER, _IMAGE),
    Kind("Conv2d, grouped", lambda: _image(nn.Conv2d(WIDTH, 6, 3, groups=2)), _LAYER, _IMAGE),
    Kind("ConvTranspose2d", lambda: _image(nn.ConvTranspose2d(WIDTH, 6, 3, stride=2)), _LAYER, _IMAGE),
    Kind("Linear without bias", lambda: _vector(nn.Linear(WIDTH, 5, bias=False)), ("layer.weight",)),
    Kind("bias only", lambda: _vector(nn.Linear(WIDTH, 5)), ("layer.bias",)),
    Kind("LayerNorm", lambda: _vector(nn.LayerNorm(WIDTH)), _LAYER),
    Kind("GroupNorm", lambda: _image(nn.GroupNorm(2, WIDTH)), _LAYER, _IMAGE),
    Kind("RMSNorm", lambda: _vector(nn.RMSNorm(WIDTH)), ("layer.weight",)),
    Kind("BatchNorm, affine", _batch_norm, _LAYER, _IMAGE),
    Kind("scale [7]", lambda: Scaled(7), ("scale",)),
    Kind("scale [1]", lambda: Scaled(1), ("scale",)),
    Kind("scale, 0-d", lambda: Scaled(), ("scale",)),
    Kind("position table", Positions, ("positions",), (1, LENGTH), ids=True),
    Kind("class token", ClassToken, ("token",), _SEQUENCE),
    Kind(
        "PReLU, one", lambda: _vector(nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.PReLU())), ("layer.1.weight",)
    ),
    Kind(
        "PReLU, per channel",
        lambda: _image(nn.Sequential(nn.Conv2d(WIDTH, WIDTH, 1), nn.PReLU(WIDTH))),
        ("layer.1.weight",),
        _IMAGE,
    ),
    Kind("Embedding", Rows, ("items.weight",), (1, LENGTH), ids=True),
    Kind(
        "MultiheadAttention",
        Attention,
        ("layer.in_proj_weight", "layer.in_proj_bias", "layer.out_proj.weight", "layer.out_proj.bias"),
        _SEQUENCE,
    ),
    Kind("GRU", lambda: Recurrent(nn.GRU(WIDTH, WIDTH, batch_first=True)), _GATES, _SEQUENCE),
    Kind("LSTM", lambda: Recurrent(nn.LSTM(WIDTH, WIDTH, batch_first=True)), _GATES, _SEQUENCE),
    Kind("Bilinear", Pair, _LAYER),
    Kind("x @ W", Product, ("weight",)),
    Kind(
        "weight_norm",
        _weight_norm,
        ("layer.parametrizations.weight.original0", "layer.parametrizations.weight.original1", "layer.bias"),
    ),
    Kind("a layer used twice", Twice, _LAYER),
    Kind(
        "factors of a Linear",
        lambda: _factored(_vector(nn.Linear(WIDTH, 5)), "layer.weight"),
        ("layer.lora_A", "layer.lora_B", "layer.bias"),
    ),
    Kind(
        "factors of a Conv2d",
        lambda: _factored(_image(nn.Conv2d(WIDTH, 6, 3, stride=2, padding=1)), "layer.weight"),
        ("layer.lora_A", "layer.lora_B"),
        _IMAGE,
    ),
    Kind(
        "factors of an Embedding",
        lambda: _factored(Rows(), "items.weight"),
        ("items.lora_A", "items.lora_B"),
        (1, LENGTH),
        ids=True,
    ),
    Kind("LoRA of PEFT, Linear", lambda: _peft(_vector(nn.Linear(WIDTH, 5)), "layer"), _LORA),
    Kind(
        "LoRA of PEFT, Conv2d",
        lambda: _peft(_image(nn.Conv2d(WIDTH, 6, 3, stride=2, padding=1)), "layer"),
        _LORA,
        _IMAGE,
    ),
    Kind(
        "LoRA of PEFT, Embedding",
        lambda: _peft(Rows(), "items"),
        ("items.lora_embedding_A.default", "items.lora_embedding_B.default"),
        (1, LENGTH),
        ids=True,
    ),
)
