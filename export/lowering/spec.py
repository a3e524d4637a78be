"""What one export needs to know about a device model."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from mnet.export.format.errors import BundleError
from mnet.export.format.manifest import DTYPES, BaseDtype, PackDtype, TensorInfo, dtype_name
from mnet.export.format.shift import Shift
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
            for name, tensor, first in zip(self.input_names, sample, self.inputs[0], strict=True):
                if dtype_name(tensor.dtype) not in DTYPES:
                    raise BundleError(
                        f"input {name} is {tensor.dtype}; it must be one of {', '.join(DTYPES)}"
                    )
                if (tensor.dtype, tensor.shape) != (first.dtype, first.shape):
                    raise BundleError(f"input {name} has not the same shape and dtype in every example")


def describe(names: tuple[str, ...], tensors: tuple[Tensor, ...]) -> tuple[TensorInfo, ...]:
    """The manifest's entries for named tensors."""
    return tuple(
        TensorInfo.model_validate(
            {"name": name, "dtype": dtype_name(tensor.dtype), "shape": tuple(tensor.shape)}
        )
        for name, tensor in zip(names, tensors, strict=True)
    )
