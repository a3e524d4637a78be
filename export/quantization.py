"""An int8 base: what of a device model is rounded, and to what. Generated parameters stay fp32.

The weights of the base's layers are rounded to symmetric int8, one scale for each output channel, before anything
is exported; a target's quantizer then stores the very integers. Activations are quantized by the runtime at each
call, from their own range (dynamic quantization), so nothing is calibrated on weights that a push replaces.
The reference is eager PyTorch with the base's weights rounded in this way and activations in fp32: what the
runtime's own rounding of activations adds is the error that `mnet verify` prints, and INT8_TOLERANCE its bound.
"""

import copy
from collections.abc import Sequence

import torch
from torch import nn

from export.errors import BundleError
from export.manifest import BaseDtype
from export.pack_dtypes import dequantized, quantized

INT8_TOLERANCE = 2e-2
_LAYERS = (nn.Linear, nn.Conv2d, nn.Embedding, nn.RNNBase)


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
