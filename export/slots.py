"""Sentinels: unique random values in the generated parameters, to find or to miss them in an artifact.

Every exporter merges, folds or drops parameters that are equal or zero. While a model is exported, its
generated parameters therefore hold sentinels, and each must end in exactly one slot and nowhere else.
"""

import hashlib
import itertools
import math
from collections.abc import Iterator, Mapping

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


def stored(parameter: Tensor, layout: str) -> bytes:
    """The bytes of `parameter` as a runtime keeps them that wants `layout`, a permutation of PyTorch's."""
    own = pytorch_layout(parameter.dim())
    return parameter.permute([own.index(letter) for letter in layout]).contiguous().numpy().tobytes()


def find(artifact: bytes, sentinel: Tensor) -> list[tuple[str, int]]:
    """Layout and offset of every place where `sentinel` stands in `artifact`, in any order of dimensions.

    Of layouts that give the same bytes, such as those of a 1x1 convolution, the one nearest to PyTorch's.
    """
    layouts: dict[bytes, str] = {}
    for letters in itertools.permutations(pytorch_layout(sentinel.dim())):
        layouts.setdefault(stored(sentinel, "".join(letters)), "".join(letters))
    return [(layout, offset) for value, layout in layouts.items() for offset in _offsets(artifact, value)]


def occurrences(artifact: bytes, sentinel: Tensor) -> int:
    """How often `sentinel` stands in `artifact`; 0 for a single number."""
    # The four bytes of one number are not unique in a file of megabytes.
    return 0 if sentinel.numel() == 1 else len(find(artifact, sentinel))


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


def _offsets(artifact: bytes, value: bytes) -> Iterator[int]:
    offset = artifact.find(value)
    while offset >= 0:
        yield offset
        offset = artifact.find(value, offset + 1)


def _sentinel(name: str, shape: torch.Size) -> Tensor:
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little", signed=True)
    generator = torch.Generator().manual_seed(seed)
    fan_in = shape[1:].numel() if len(shape) > 1 else shape.numel()
    return (torch.rand(shape, generator=generator) * 2 - 1) / math.sqrt(fan_in)
