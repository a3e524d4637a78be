"""Sentinels: unique random values in the generated parameters, to find or to miss them in an artifact.

Every exporter merges, folds or drops parameters that are equal or zero. While a model is exported, its
generated parameters therefore hold sentinels, and each must end in exactly one slot and nowhere else.
"""

import hashlib
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import torch
from pydantic import BaseModel, Field
from torch import Tensor, nn

from mnet.export.format.errors import BundleError
from mnet.export.format.manifest import Binding, BundlePath, Slot

KEY_SIZE = 64


class ByteRange(BaseModel):
    """`size` bytes at `offset` of a file."""

    offset: int = Field(ge=0)
    size: int = Field(ge=1)


class BytesBinding(Binding):
    """The slot is `size` bytes at `offset` of a file of the bundle, of which a device keeps a copy.

    At each of the offsets `keys`, 64 more bytes are the name by which the runtime knows the content: the
    SHA-256 in lower-case hex of the bytes `hashed`, by default those of the slot. Several slots may lie in one such
    range, so a device writes all slots before the first key.
    """

    kind: Literal["bytes"] = "bytes"
    file: BundlePath
    offset: int = Field(ge=0)
    size: int = Field(ge=1)
    keys: tuple[int, ...] = ()
    hashed: ByteRange | None = None

    @property
    def where(self) -> str:
        return f"{self.file} at byte {self.offset:,}"


_LAYOUTS = ("", "O", "OI", "OIW", "OIHW", "OIDHW")


def sentinels(parameters: Mapping[str, Tensor], draw: int = 0) -> dict[str, Tensor]:
    """Random fp32 values of the shapes of `parameters`, seeded by name and `draw`; no two parameters get the same.

    They are uniform in ±1/sqrt(fan in), as PyTorch initialises a Linear, so that outputs stay sane.
    """
    return {name: _sentinel(name, parameter.shape, draw) for name, parameter in parameters.items()}


def place(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Overwrite parameters of `model` in place, so that whatever refers to them sees the new values."""
    with torch.no_grad():
        for name, value in weights.items():
            model.get_parameter(name).copy_(value)


def arranged(parameter: Tensor, layout: str) -> Tensor:
    """`parameter` in another order of its dimensions, less those of size 1 that `layout` leaves out."""
    own = pytorch_layout(parameter.dim())
    missing = [own.index(letter) for letter in own if letter not in layout]
    order = [own.index(letter) for letter in layout]
    return parameter.permute(order + missing).flatten(len(order) - 1).contiguous()


def stored(parameter: Tensor, layout: str) -> bytes:
    """The bytes of `parameter` as a runtime keeps them that wants `layout`."""
    return arranged(parameter, layout).numpy().tobytes()


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


def bind_bytes(artifact: bytes, file: str, name: str, sentinel: Tensor, *, keyed: bool = False) -> Slot:
    """The slot of a parameter whose sentinel stands in one place of `artifact`, the bundle's `file`.

    With `keyed`, the runtime finds the bytes by their SHA-256 in hex, and the slot says where that stands.
    BundleError if the sentinel stands nowhere, for then the exporter folded it, or in several places.
    """
    hits = find(artifact, sentinel)
    if not hits:
        raise BundleError(
            f"generated parameter {name} has 0 slots, not 1: the exporter folded it into another constant; "
            "generate another parameter, or take another target"
        )
    if len(hits) > 1:
        raise BundleError(f"generated parameter {name} has {len(hits)} slots, not 1: use its layer once only")
    ((layout, offset),) = hits
    value = stored(sentinel, layout)
    keys = tuple(_offsets(artifact, _key(value))) if keyed else ()
    return Slot(
        parameter=name,
        shape=tuple(sentinel.shape),
        dtype="float32",
        layout=layout,
        binding=BytesBinding(file=file, offset=offset, size=len(value), keys=keys),
    )


def patch(template: bytes, slots: Sequence[Slot], parameters: Mapping[str, Tensor]) -> bytes:
    """A copy of a file with byte slots that holds `parameters` in place of the sentinels.

    Raises BundleError if a slot is not exactly as large as its parameter: no runtime would notice.
    """
    patched = bytearray(template)
    for slot in slots:
        place = BytesBinding.of(slot)
        value = stored(parameters[slot.parameter], slot.layout)
        if len(value) != place.size or place.offset + place.size > len(template):
            raise BundleError(
                f"{slot.parameter} has {len(value)} bytes, its slot {place.size} at {place.offset} of "
                f"{len(template)} in {place.file}"
            )
        patched[place.offset : place.offset + place.size] = value
    for slot in slots:
        place = BytesBinding.of(slot)
        content = place.hashed or place
        value = bytes(patched[content.offset : content.offset + content.size]) if place.keys else b""
        for key in place.keys:
            patched[key : key + KEY_SIZE] = _key(value)
    return bytes(patched)


def _key(value: bytes) -> bytes:
    return hashlib.sha256(value).hexdigest().encode()


def pytorch_layout(dimensions: int) -> str:
    """PyTorch's layout, one letter a dimension: that of a Linear's weight is `OI`, of a Conv2d's `OIHW`."""
    return _LAYOUTS[dimensions]


def _offsets(artifact: bytes, value: bytes) -> Iterator[int]:
    offset = artifact.find(value)
    while offset >= 0:
        yield offset
        offset = artifact.find(value, offset + 1)


def _sentinel(name: str, shape: torch.Size, draw: int) -> Tensor:
    seed = int.from_bytes(hashlib.sha256(f"{name}{' ' * draw}".encode()).digest()[:8], "little", signed=True)
    generator = torch.Generator().manual_seed(seed)
    fan_in = shape[1:].numel() if len(shape) > 1 else shape.numel()
    return (torch.rand(shape, generator=generator) * 2 - 1) / math.sqrt(fan_in)
