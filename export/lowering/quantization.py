"""An int8 base: the weights of the layers that are not generated, stored as int8. Generated parameters stay fp32.

Weights are symmetric int8 with one scale for each output channel; arithmetic stays fp32, so nothing is calibrated
on weights that a push replaces. They are rounded before anything is exported; a target's quantizer then stores
the very integers, or fp32 where its exporter has merged a layer with its neighbour. So eager PyTorch with the
rounded base is an exact reference, and a self-test stays as sharp as without. Activations in int8 too (dynamic
quantization) are off by 3 % of the output's size on a CNN for CIFAR-10: a self-test that lets this pass would let
stale weights pass.
"""

import copy
from collections.abc import Sequence

import torch
from torch import nn

from mnet.export.format.errors import BundleError
from mnet.export.format.manifest import BaseDtype
from mnet.export.format.pack_dtypes import dequantized, quantized

_LAYERS = (nn.Linear, nn.Conv2d, nn.Embedding, nn.RNNBase)


def find_base_dtype(name: str | None) -> BaseDtype:
    """The dtype of the base that a command line names; None is fp32. BundleError if there is no such."""
    if name not in (None, "int8"):
        raise BundleError(f"a base is quantized to int8, or not at all; {name} is not known")
    return "int8" if name else "float32"


def with_base(model: nn.Module, generated: Sequence[str], dtype: BaseDtype) -> nn.Module:
    """A copy of `model` on the CPU whose base holds the weights that a bundle of this base dtype does."""
    changed = copy.deepcopy(model).cpu().eval().requires_grad_(False)
    if dtype == "int8":
        for name in base_weights(changed, generated):
            weight = changed.get_parameter(name)
            with torch.no_grad():
                weight.copy_(dequantized(*quantized(weight)))
    return changed


def base_weights(model: nn.Module, generated: Sequence[str]) -> list[str]:
    """The parameters that are int8 in a quantized base. BundleError if there is none."""
    names = [
        f"{path}.{name}" if path else name
        for path, layer in model.named_modules()
        if isinstance(layer, _LAYERS)
        for name, parameter in layer.named_parameters(recurse=False)
        if parameter.dim() > 1
    ]
    base = [name for name in names if name not in generated]
    if not base:
        raise BundleError("there is nothing to quantize: every layer of the model is generated")
    return base
