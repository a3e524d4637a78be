"""Sentinels: unique random values in the generated parameters, to find or to miss them in an artifact.

Every exporter merges, folds or drops parameters that are equal or zero. While a model is exported, its
generated parameters therefore hold sentinels, and each must end in exactly one slot and nowhere else.
"""

import hashlib
import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from export.errors import BundleError

_LAYOUTS = ("", "O", "OI", "OIW", "OIHW", "OIDHW")


def sentinels(parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Random fp32 values of the shapes of `parameters`, seeded by name; no two parameters get the same.

    They are uniform in ±1/sqrt(fan in), as PyTorch initialises a Linear, so the model's outputs stay sane.
    """
    return {name: _sentinel(name, parameter.shape) for name, parameter in parameters.items()}


def place(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Overwrite parameters of `model` in place, so that whatever refers to them sees the new values."""
    with torch.no_grad():
        for name, value in weights.items():
            model.get_parameter(name).copy_(value)


def occurrences(artifact: bytes, sentinel: Tensor) -> int:
    """How often `sentinel` stands in `artifact`, as it is or transposed; 0 for a single number."""
    if sentinel.numel() == 1:
        return 0  # four bytes are not unique in a file of megabytes
    layouts = {sentinel.numpy().tobytes(), sentinel.numpy().T.tobytes()}
    return sum(artifact.count(layout) for layout in layouts)


def refuse_constants(artifact: bytes, generated: Mapping[str, Tensor]) -> None:
    """Raise BundleError if a sentinel stands in `artifact`, where no swap would reach it."""
    for name, sentinel in generated.items():
        if occurrences(artifact, sentinel):
            raise BundleError(
                f"generated parameter {name} is also a constant of the program; let the model reach it only "
                "through its own module"
            )


def pytorch_layout(dimensions: int) -> str:
    """PyTorch's layout, one letter a dimension: that of a Linear's weight is `OI`, of a Conv2d's `OIHW`."""
    return _LAYOUTS[dimensions]


def _sentinel(name: str, shape: torch.Size) -> Tensor:
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little", signed=True)
    generator = torch.Generator().manual_seed(seed)
    fan_in = shape[1:].numel() if len(shape) > 1 else shape.numel()
    return (torch.rand(shape, generator=generator) * 2 - 1) / math.sqrt(fan_in)
