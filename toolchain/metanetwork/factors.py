"""Low-rank factors in place of whole weights: what is generated, exported and pushed is A and B, not their product.

A layer with a weight of rows x columns gets two further parameters of r * (rows + columns) numbers, `lora_A` and
`lora_B`, and adds what they make of its input to what it gives without them. As B starts at zero, it starts as it was.

Source: E. Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, ICLR 2022 (here with alpha / r of 1).
"""

import copy
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class _Factors:
    """What the layers below have in common."""

    lora_A: nn.Parameter  # noqa: N815, the name that PEFT gives it
    lora_B: nn.Parameter  # noqa: N815


class LowRankLinear(_Factors, nn.Linear):
    """A Linear and its factors: `lora_A` [r, in], `lora_B` [out, r]."""

    def __init__(self, layer: nn.Linear, rank: int) -> None:
        super().__init__(layer.in_features, layer.out_features, layer.bias is not None, device="meta")
        _take_over(self, layer, (rank, layer.in_features), (layer.out_features, rank))

    def forward(self, input: Tensor) -> Tensor:
        """As a Linear of the weight W + B A."""
        down = functional.linear(input, self.lora_A)
        return super().forward(input) + functional.linear(down, self.lora_B)


class LowRankConv2d(_Factors, nn.Conv2d):
    """A Conv2d of one group and its factors: `lora_A` [r, in, kh, kw], `lora_B` [out, r, 1, 1]."""

    def __init__(self, layer: nn.Conv2d, rank: int) -> None:
        super().__init__(
            layer.in_channels,
            layer.out_channels,
            layer.kernel_size,  # type: ignore[arg-type]
            layer.stride,  # type: ignore[arg-type]
            layer.padding,  # type: ignore[arg-type]
            layer.dilation,  # type: ignore[arg-type]
            bias=layer.bias is not None,
            padding_mode=layer.padding_mode,
            device="meta",
        )
        first, second = (rank, *layer.weight.shape[1:]), (layer.out_channels, rank, 1, 1)
        _take_over(self, layer, first, second)

    def forward(self, input: Tensor) -> Tensor:
        """As a Conv2d of the weight W + B A."""
        down = self._conv_forward(input, self.lora_A, None)
        return super().forward(input) + functional.conv2d(down, self.lora_B)


class LowRankEmbedding(_Factors, nn.Embedding):
    """An Embedding and its factors: `lora_A` [rows, r], `lora_B` [r, columns]."""

    def __init__(self, layer: nn.Embedding, rank: int) -> None:
        rows, columns = layer.weight.shape
        super().__init__(rows, columns, layer.padding_idx, device="meta")
        _take_over(self, layer, (rows, rank), (rank, columns))

    def forward(self, input: Tensor) -> Tensor:
        """As an Embedding of the weight W + A B; its padding stays as it is."""
        change = functional.embedding(input, self.lora_A) @ self.lora_B
        if self.padding_idx is not None:
            change = change * (input != self.padding_idx).unsqueeze(-1).to(change.dtype)
        return super().forward(input) + change


_LAYERS: dict[type[nn.Module], type[nn.Module]] = {
    nn.Linear: LowRankLinear,
    nn.Conv2d: LowRankConv2d,
    nn.Embedding: LowRankEmbedding,
}


def with_factors(model: nn.Module, generated: Sequence[str], rank: int) -> tuple[str, ...]:
    """Give the layers of `generated` weights factors, in place; what is to be generated instead of `generated`.

    A weight stays among them where its factors would be no smaller, and where its layer is no plain Linear, Embedding
    or Conv2d of one group, as the weights of a GRU. So does everything that is no weight of a layer.
    """
    names: list[str] = []
    for name in generated:
        path, _, own = name.rpartition(".")
        layer = model.get_submodule(path)
        kind = _LAYERS.get(type(layer)) if own == "weight" and path else None
        if kind is None or not _fits(layer, rank):
            names.append(name)
            continue
        parent, _, attribute = path.rpartition(".")
        setattr(model.get_submodule(parent), attribute, kind(layer, rank))
        names += [f"{path}.lora_A", f"{path}.lora_B"]
    return tuple(names)


def merged(model: nn.Module) -> nn.Module:
    """A copy of a model in which the factors are a part of the weights, and B is zero."""
    whole = copy.deepcopy(model)
    with torch.no_grad():
        for layer in whole.modules():
            if isinstance(layer, LowRankEmbedding):
                layer.weight += layer.lora_A @ layer.lora_B
            elif isinstance(layer, LowRankLinear | LowRankConv2d):
                product = layer.lora_B.flatten(1) @ layer.lora_A.flatten(1)
                layer.weight += product.view_as(layer.weight)
            else:
                continue
            layer.lora_B.zero_()
    return whole


def _fits(layer: nn.Module, rank: int) -> bool:
    """Whether factors are smaller than the weight, and do what a change of the weight does."""
    if isinstance(layer, nn.Conv2d) and layer.groups > 1:
        return False
    if isinstance(layer, nn.Embedding) and (layer.max_norm is not None or layer.sparse):
        return False
    weight = layer.weight
    assert isinstance(weight, Tensor)
    rows, columns = len(weight), weight[0].numel()
    return rank * (rows + columns) < rows * columns


def _take_over(new: nn.Module, layer: nn.Module, first: tuple[int, ...], second: tuple[int, ...]) -> None:
    """Put the parameters and the mode of `layer` into `new`, with fresh factors of these shapes."""
    for name, parameter in layer.named_parameters(recurse=False):
        setattr(new, name, parameter)
    weight = layer.weight
    assert isinstance(weight, Tensor)
    new.lora_A = nn.Parameter(weight.new_empty(first))
    new.lora_B = nn.Parameter(weight.new_zeros(second))
    nn.init.kaiming_uniform_(new.lora_A, a=math.sqrt(5))
    # What is shared of a frozen weight stays as it is: B at zero, so that the default pack is the model as it came.
    new.lora_A.requires_grad_(weight.requires_grad)
    new.lora_B.requires_grad_(weight.requires_grad)
    new.train(layer.training)
