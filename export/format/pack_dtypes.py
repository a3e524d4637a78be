"""In what generated parameters travel, whatever the runtime computes in: fp32, fp16, or int8 with scales.

In an int8 pack a matrix or a convolution is symmetric int8, `value = int8 * scale`, with one fp32 scale for each
output channel (its first dimension) in a tensor of its own, `NAME:scale` [O]. Vectors, biases mostly, stay fp32:
they are few. A table with one number a row is fp16, for a scale a row is more than the number. A scale is rounded up
to 12 bits, so that `int8 * scale` is exact in fp32 and narrowing what was narrowed before changes nothing: cloud,
phone and eager PyTorch speak of the same weights to the last bit.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from mnet.export.format.errors import BundleError
from mnet.export.format.manifest import PackDtype, Slot

PACK_DTYPES: Mapping[str, PackDtype] = {"fp32": "float32", "fp16": "float16", "int8": "int8"}
_SCALE_BITS = 12
_LARGEST = 127


class Carrier(NamedTuple):
    """A tensor of a pack; `dtype` is the manifest's name."""

    name: str
    dtype: str
    shape: tuple[int, ...]


def find_pack_dtype(name: str) -> PackDtype:
    """The dtype of a name on the command line; BundleError if there is no such."""
    if name not in PACK_DTYPES:
        raise BundleError(f"unknown pack dtype {name!r}; known ones: {', '.join(PACK_DTYPES)}")
    return PACK_DTYPES[name]


def choose_pack_dtypes(parameters: Mapping[str, Tensor], wanted: PackDtype) -> dict[str, PackDtype]:
    """What each parameter travels in, in packs of dtype `wanted`."""
    return {name: _int8_of(value) if wanted == "int8" else wanted for name, value in parameters.items()}


def _int8_of(value: Tensor) -> PackDtype:
    if value.dim() < 2:
        return "float32"
    return "float16" if value[0].numel() == 1 else "int8"


def carriers(slot: Slot) -> tuple[Carrier, ...]:
    """The tensors that a pack holds for a slot."""
    values = Carrier(slot.parameter, slot.pack_dtype, slot.shape)
    if slot.pack_dtype != "int8":
        return (values,)
    return (values, Carrier(_scale_name(slot.parameter), "float32", slot.shape[:1]))


def narrowed(parameters: Mapping[str, Tensor], dtypes: Mapping[str, PackDtype]) -> dict[str, Tensor]:
    """fp32 parameters, PyTorch layout -> the tensors of a pack. ValueError if one is too large for fp16.

    What has no entry in `dtypes` stays as it is.
    """
    tensors: dict[str, Tensor] = {}
    for name, value in parameters.items():
        dtype = dtypes.get(name)
        if dtype == "int8":
            tensors[name], tensors[_scale_name(name)] = quantized(value.detach())
        elif dtype == "float16":
            tensors[name] = value.detach().half()
            if torch.isinf(tensors[name]).any():
                raise ValueError(f"{name} is too large for fp16: export with pack dtype fp32 or int8")
        else:
            tensors[name] = value.detach()
    return tensors


def widened(tensors: Mapping[str, Tensor], dtypes: Mapping[str, PackDtype]) -> dict[str, Tensor]:
    """The tensors of a pack, checked against `carriers` -> fp32 parameters, in the order of `dtypes`."""
    return {
        name: dequantized(tensors[name], tensors[_scale_name(name)])
        if dtype == "int8"
        else tensors[name].float()
        for name, dtype in dtypes.items()
    }


def rounded(parameters: Mapping[str, Tensor], dtypes: Mapping[str, PackDtype]) -> dict[str, Tensor]:
    """fp32 parameters as a phone will have them, in the order of `dtypes`; raises as `narrowed`."""
    return widened(narrowed(parameters, dtypes), dtypes)


def quantized(value: Tensor) -> tuple[Tensor, Tensor]:
    """fp32 [O, ...] -> int8 of the same shape in ±127, and a fp32 scale [O]."""
    scale = value.flatten(1).abs().amax(1) / _LARGEST
    mantissa, exponent = torch.frexp(scale)
    scale = torch.ldexp(torch.ceil(torch.ldexp(mantissa, torch.tensor(_SCALE_BITS))), exponent - _SCALE_BITS)
    scale = torch.where(scale > 0, scale, 1.0)
    return torch.round(value / _along(scale, value)).to(torch.int8), scale


def dequantized(value: Tensor, scale: Tensor) -> Tensor:
    """What `quantized` stands for, fp32."""
    return value.float() * _along(scale, value)


def _along(scale: Tensor, value: Tensor) -> Tensor:
    return scale.view(-1, *[1] * (value.dim() - 1))


def _scale_name(parameter: str) -> str:
    return f"{parameter}:scale"
