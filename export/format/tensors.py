"""The inputs and outputs of a device model, as a manifest describes them."""

from collections.abc import Sequence
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

Dtype = Literal["bool", "uint8", "int32", "int64", "float16", "float32"]
DTYPES: tuple[str, ...] = get_args(Dtype)


class Part(BaseModel):
    """A part of a manifest, which never changes."""

    # A later minor version may add fields, so unknown ones are ignored; the id still covers them.
    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class DynamicDimension(Part):
    """A dimension whose size is from `min` to `max`. Dimensions of one `name` have one size."""

    dimension: int = Field(ge=0)
    name: str
    min: int = Field(ge=0)
    max: int = Field(ge=1)


class TensorInfo(Part):
    """One input or output of the device model; `shape` is that in golden sample 0."""

    name: str
    dtype: Dtype
    shape: tuple[int, ...]
    dynamic: tuple[DynamicDimension, ...] = ()

    def takes(self, shape: Sequence[int]) -> bool:
        """Whether a tensor of this shape can be it."""
        bounds = [(size, size) for size in self.shape]
        for each in self.dynamic:
            bounds[each.dimension] = (each.min, each.max)
        return len(shape) == len(bounds) and all(
            least <= size <= most for size, (least, most) in zip(shape, bounds, strict=True)
        )

    @property
    def largest(self) -> tuple[int, ...]:
        """The shape where every dimension has its largest size."""
        most = {each.dimension: each.max for each in self.dynamic}
        return tuple(most.get(k, size) for k, size in enumerate(self.shape))

    @property
    def fixed(self) -> tuple[int | None, ...]:
        """The shape, None where it varies."""
        varying = {each.dimension for each in self.dynamic}
        return tuple(None if k in varying else size for k, size in enumerate(self.shape))

    @property
    def bounds(self) -> str:
        """The shape for people: `[1, 1..200]`."""
        varying = {each.dimension: f"{each.min}..{each.max}" for each in self.dynamic}
        return f"[{', '.join(varying.get(k, str(size)) for k, size in enumerate(self.shape))}]"


class OutputInfo(TensorInfo):
    """One output. `scale` is the root mean square of its golden values, 1 where all are zero."""

    scale: float = Field(gt=0, allow_inf_nan=False)
