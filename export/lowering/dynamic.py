"""Sizes of a model's inputs that are only bounded: a history of 1 to 200 items, any number of candidates.

A size is named by the input that has it, as in `history`; by several inputs that share it, as in `ids,mask`; and where
an input has more than one dimension besides its batch, with the dimension's number, as in `series[2]`.
"""

import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mnet.export.format.errors import BundleError
from mnet.export.format.tensors import DynamicDimension

Bounds = tuple[int, int]
_PLACE = re.compile(r"(?P<input>[^\[\],]+)(\[(?P<dimension>\d+)\])?")
# torch.export takes a size of 0 or 1 in its example for one that never changes.
_LEAST_TRACED = 2


@dataclass(frozen=True)
class BoundedSize:
    """A size from `least` to `most`; `places` are the dimensions that have it, each as (input, dimension)."""

    name: str
    example: int
    least: int
    most: int
    places: tuple[tuple[int, int], ...]


def bounded_sizes(
    dynamic: Mapping[str, Bounds], names: Sequence[str], example: Sequence[Tensor]
) -> tuple[BoundedSize, ...]:
    """The sizes that `dynamic` names, for inputs called `names`. BundleError for what these do not have."""
    sizes: list[BoundedSize] = []
    taken: set[tuple[int, int]] = set()
    for text, (least, most) in dynamic.items():
        if not 1 <= least < most:
            raise BundleError(
                f"{text}={least}..{most}: a size has bounds such as 1..200, the second one larger"
            )
        places = tuple(_place(part.strip(), names, example) for part in text.split(","))
        for each in places:
            if each in taken or places.count(each) > 1:
                raise BundleError(
                    f"{text}={least}..{most}: the size of input {names[each[0]]} is named twice"
                )
        taken |= {*places}
        found = {example[place].shape[dimension] for place, dimension in places}
        if len(found) > 1 or not least <= min(found) <= most:
            raise BundleError(
                f"{text}={least}..{most}: the example's size is {' and '.join(map(str, sorted(found)))}; it must "
                "lie in the bounds, and be one"
            )
        sizes.append(BoundedSize(text.partition(",")[0].strip(), min(found), least, most, places))
    return tuple(sizes)


def parse_bounds(options: Sequence[str]) -> dict[str, Bounds]:
    """`{"history": (1, 200)}` of `history=1..200`. BundleError for anything else."""
    found = {}
    for option in options:
        name, _, bounds = option.rpartition("=")
        numbers = re.fullmatch(r"(\d+)\.\.(\d+)", bounds.strip())
        if not name or numbers is None:
            raise BundleError(f"{option!r} is no bounded size; write one as in `history=1..200`")
        found[name.strip()] = (int(numbers[1]), int(numbers[2]))
    return found


def _place(text: str, names: Sequence[str], example: Sequence[Tensor]) -> tuple[int, int]:
    named = _PLACE.fullmatch(text)
    if named is None or named["input"] not in names:
        raise BundleError(f"{text!r} is no input of the model; its inputs are {', '.join(names)}")
    place = names.index(named["input"])
    rank = example[place].dim()
    if named["dimension"] is None:
        if rank != 2:
            raise BundleError(
                f"input {text} has {rank} dimensions: say which one varies, as in `{text}[{max(1, rank - 1)}]`"
            )
        return place, 1
    dimension = int(named["dimension"])
    if not 1 <= dimension < rank:
        raise BundleError(
            f"{text}: the dimensions of this input that can vary are 1 to {rank - 1}; 0 is its batch"
        )
    return place, dimension


def at_sizes(
    inputs: Sequence[Tensor], sizes: Sequence[BoundedSize], wanted: Mapping[str, int]
) -> tuple[Tensor, ...]:
    """`inputs` at other sizes, by name: cut, or repeated from the start, so that all values occur in `inputs`."""
    given = [*inputs]
    for size in sizes:
        for place, dimension in size.places:
            old = given[place]
            index = torch.arange(wanted[size.name]) % old.shape[dimension]
            given[place] = old.index_select(dimension, index)
    return tuple(given)


def smallest(inputs: Sequence[Tensor], sizes: Sequence[BoundedSize]) -> tuple[Tensor, ...]:
    """`inputs` at the least sizes."""
    return at_sizes(inputs, sizes, {size.name: size.least for size in sizes})


def largest(inputs: Sequence[Tensor], sizes: Sequence[BoundedSize]) -> tuple[Tensor, ...]:
    """`inputs` at the largest sizes."""
    return at_sizes(inputs, sizes, {size.name: size.most for size in sizes})


def to_trace(inputs: Sequence[Tensor], sizes: Sequence[BoundedSize]) -> tuple[Tensor, ...]:
    """`inputs` as they are, or larger where torch.export would take a size for a constant."""
    return at_sizes(inputs, sizes, {size.name: max(_LEAST_TRACED, size.example) for size in sizes})


def dynamic_shapes(
    model: nn.Module, inputs: Sequence[Tensor], sizes: Sequence[BoundedSize]
) -> dict[str, Any] | None:
    """What torch.export must know of the sizes: for each argument of `forward`, its dimensions; None without any."""
    if not sizes:
        return None
    of_inputs: list[dict[int, Any]] = [{} for _ in inputs]
    for k, size in enumerate(sizes):
        dimension = torch.export.Dim(f"size_{k}", min=size.least, max=size.most)
        for place, index in size.places:
            of_inputs[place][index] = dimension
    given = inspect.signature(model.forward).bind(*of_inputs).arguments
    return dict(given)


def dimensions(
    name: str, shapes: Sequence[Sequence[int]], sizes: Sequence[BoundedSize]
) -> tuple[DynamicDimension, ...]:
    """The dimensions of tensor `name` that vary, from its shapes at the example's, the least and the largest sizes.

    A dimension that is one of the sizes has its name.
    """
    found = []
    for dimension, bounds in enumerate(zip(*shapes, strict=True)):
        if len({*bounds}) > 1:
            named = [size.name for size in sizes if (size.example, size.least, size.most) == bounds]
            found.append(
                DynamicDimension(
                    dimension=dimension,
                    name=named[0] if named else f"{name}[{dimension}]",
                    min=min(bounds),
                    max=max(bounds),
                )
            )
    return tuple(found)
