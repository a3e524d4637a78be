"""What one export needs to know about a device model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from mnet.export.format.errors import BundleError
from mnet.export.format.manifest import BaseDtype, PackDtype, dtype_name
from mnet.export.format.shift import Shift
from mnet.export.format.tensors import DTYPES, TensorInfo
from mnet.export.lowering.dynamic import BoundedSize, Bounds, bounded_sizes, dimensions
from mnet.export.lowering.tables import with_rows


@dataclass(frozen=True)
class ExportSpec:
    """A device model with its default weights, and which of its parameters the cloud will generate.

    `inputs` holds several example input tuples, all of the same shapes and dtypes (`DTYPES`): the first is traced, so
    its shapes are fixed in the artifact, and all become golden samples. `output_names` name the tensors that the model
    returns, in the order of `flattened`, whether it returns one, a tuple, a dict or a `ModelOutput`. `metadata` is free
    text for people. `binding` is how new weights reach the program, for targets that leave a choice (`Target`), and
    `pack_dtype` what they travel in (`mnet.export.format.pack_dtypes`). With `base_dtype` int8 the other layers are
    quantized (`mnet.export.lowering.quantization`), on targets that can.
    A generated parameter may be rows of a table, `items.weight[50:60]` (`mnet.export.lowering.tables`): `model` is
    then a copy in which they are a parameter of this name.
    `dynamic` are the sizes of inputs that vary, and their bounds (`mnet.export.lowering.dynamic`), on targets that can.
    `policy` decides on a phone when it asks for new weights; it travels in the bundle.
    Raises BundleError on anything that cannot be exported whatever the target.
    """

    name: str
    model: nn.Module
    generated: tuple[str, ...]
    inputs: tuple[tuple[Tensor, ...], ...]
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    metadata: dict[str, str] = field(default_factory=dict)
    binding: str | None = None
    pack_dtype: PackDtype = "float32"
    base_dtype: BaseDtype = "float32"
    policy: Shift | None = None
    dynamic: Mapping[str, Bounds] = field(default_factory=dict)

    @property
    def sizes(self) -> tuple[BoundedSize, ...]:
        """The sizes that vary."""
        return bounded_sizes(self.dynamic, self.input_names, self.inputs[0])

    def __post_init__(self) -> None:
        object.__setattr__(self, "model", with_rows(self.model, self.generated))
        self._check_generated()
        self._check_inputs()

    def _check_generated(self) -> None:
        if not self.generated:
            raise BundleError(f"model {self.name}: no generated parameter is named, there is nothing to swap")
        if len(set(self.generated)) != len(self.generated):
            raise BundleError(f"model {self.name}: a generated parameter is named twice")
        known = dict(self.model.named_parameters(remove_duplicate=False))
        for name in self.generated:
            if name not in known:
                raise BundleError(f"model {self.name} has no parameter {name!r}; it has {', '.join(known)}")
            if known[name].dtype != torch.float32:
                raise BundleError(f"generated parameter {name} is {known[name].dtype}; it must be float32")
            if twins := [other for other in known if other != name and known[other] is known[name]]:
                raise BundleError(
                    f"generated parameter {name} is shared with {', '.join(twins)}: a pack would change both. Generate "
                    "another one, or give it its own tensor, as in `layer.weight = nn.Parameter(layer.weight.clone())`"
                )

    def _check_inputs(self) -> None:
        if not self.inputs:
            raise BundleError(f"model {self.name}: at least one example input is needed")
        for sample in self.inputs:
            if len(sample) != len(self.input_names):
                raise BundleError(
                    f"model {self.name}: an example has {len(sample)} inputs for the names {self.input_names}"
                )
            for k, (name, tensor, first) in enumerate(
                zip(self.input_names, sample, self.inputs[0], strict=True)
            ):
                if dtype_name(tensor.dtype) not in DTYPES:
                    raise BundleError(
                        f"input {name} is {tensor.dtype}; it must be one of {', '.join(DTYPES)}"
                    )
                varying = {dimension for size in self.sizes for place, dimension in size.places if place == k}
                if (tensor.dtype, _fixed(tensor, varying)) != (first.dtype, _fixed(first, varying)):
                    raise BundleError(f"input {name} has not the same shape and dtype in every example")


def _fixed(tensor: Tensor, varying: set[int]) -> list[int]:
    """The shape, -1 where it varies."""
    return [-1 if k in varying else size for k, size in enumerate(tensor.shape)]


def describe(
    names: Sequence[str], samples: Sequence[Sequence[Tensor]], sizes: Sequence[BoundedSize] = ()
) -> tuple[TensorInfo, ...]:
    """The manifest's entries for named tensors; of their samples, the last two are at the least and largest `sizes`."""
    found = []
    for name, first, *others in zip(names, *samples, strict=True):
        shapes = [tuple(each.shape) for each in (first, *others[-2:])]
        entry = {"name": name, "dtype": dtype_name(first.dtype), "shape": shapes[0]}
        varying = dimensions(name, shapes, sizes) if sizes else ()
        found.append(TensorInfo.model_validate({**entry, "dynamic": varying}))
    return tuple(found)
