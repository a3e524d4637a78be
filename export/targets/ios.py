"""Target `ios`: an fp16 `.mlpackage` for CoreML, which takes the generated parameters as one flat vector.

One vector, padded to a multiple of 32 and sliced inside the graph, because Apple's neural engine is reported
to refuse inner dimensions that are no such multiple. It reaches the program in one of two ways (`binding`):

- `input` (iOS 17): a further input of each prediction. An app keeps an immutable `MLMultiArray` for each
  version and swaps the reference.
- `state` (iOS 18): an `MLState` that the program only reads. It starts at zero, and must not be written while
  a prediction runs: an app makes a new one for each version.

CoreML runs on Apple's systems only. On this machine a package is *checked* by `mnet.export.lowering.coreml_checker`,
which evaluates the saved program op by op; what it takes and how it rounds on a phone is for a phone to show.
"""

import functools
import importlib.metadata
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.export import ExportedProgram

from mnet.export.format.errors import BundleError
from mnet.export.format.golden import HALF_TOLERANCE
from mnet.export.format.manifest import Binding, Manifest, Runtime, Slot, torch_dtype
from mnet.export.format.slots import pytorch_layout, refuse_constants
from mnet.export.format.tensors import TensorInfo
from mnet.export.lowering.coreml_checker import SavedProgram, TensorType
from mnet.export.lowering.coreml_state import turn_into_state
from mnet.export.lowering.dynamic import BoundedSize
from mnet.export.lowering.inputs import Inputs
from mnet.export.lowering.rewriting import (
    AFFINE,
    CONVOLUTIONS,
    UNKNOWN_TO_COREMLTOOLS,
    downstream,
    is_dilated_or_transposed,
    rewritten,
    takes,
)
from mnet.export.lowering.spec import ExportSpec
from mnet.export.lowering.target import Node, Run, Target
from mnet.export.lowering.tracing import exporter_step, refuse_unused, trace

PROGRAM_FILE = "model.mlpackage"
BAKED_FILE = "bench/baked.mlpackage"
WEIGHTS = "generated_parameters"
_MULTIPLE = 32


class SliceBinding(Binding):
    """The slot is `size` elements at `offset` of a flat fp16 vector: an input, or a state, of the program."""

    kind: Literal["slice"] = "slice"
    source: Literal["input", "state"]
    name: str
    offset: int = Field(ge=0)
    size: int = Field(ge=1)

    def __str__(self) -> str:
        return f"one {self.source}"

    @property
    def where(self) -> str:
        return f"{self.source} {self.name} [{self.offset}:{self.offset + self.size}]"


TARGET = Target(
    packages=("coremltools",),
    install="mnet-mobile[ios]",
    runtime="CoreML; here a checker of the saved program",
    slots=(SliceBinding,),
    tolerance=HALF_TOLERANCE,
    inputs=("float32", "float16", "int32", "int64"),
    dynamic=True,
    bindings=("input", "state"),
    runs_here=False,
)


def runtime() -> Runtime:
    """The format of coremltools as installed here; CoreML itself is not."""
    return Runtime(
        name="coreml", version=f"coremltools {importlib.metadata.version('coremltools')}, checked only"
    )


def write_program(model: nn.Module, spec: ExportSpec, folder: Path) -> tuple[str, tuple[Slot, ...]]:
    """Write `model.mlpackage`; see `TargetModule`."""
    refuse_unused(trace(model, spec.inputs[0], spec.sizes), spec.generated)
    sentinels = {name: model.get_parameter(name).detach() for name in spec.generated}
    source: Literal["input", "state"] = "state" if spec.binding == "state" else "input"
    slots = _bind_slices(sentinels, source)
    flat = flatten(sentinels, slots)
    package = folder / PROGRAM_FILE
    _lower(
        _Sliced(model, slots), (*spec.inputs[0], flat.float()), (*spec.input_names, WEIGHTS), spec, package
    )
    for file in filter(Path.is_file, package.rglob("*")):
        refuse_constants(file.read_bytes(), sentinels)
        refuse_constants(file.read_bytes(), {name: value.half() for name, value in sentinels.items()})
    if source == "state":
        turn_into_state(package, WEIGHTS)
    return PROGRAM_FILE, slots


def write_baked(model: nn.Module, spec: ExportSpec, folder: Path) -> str:
    """Write `bench/baked.mlpackage`; see `TargetModule`."""
    _lower(model, spec.inputs[0], spec.input_names, spec, folder / BAKED_FILE)
    return BAKED_FILE


def load_program(path: Path, manifest: Manifest, threads: int = 1) -> "_Program":
    """Load an `.mlpackage` into the checker; see `TargetModule`."""
    if threads != 1:
        raise BundleError(f"the checker of target ios has one thread, not {threads}")
    return _Program(path, manifest)


def nodes(path: Path) -> list[Node]:
    """The operations of an `.mlpackage`; on which unit each runs, the phone decides. See `TargetModule`."""
    return [Node("main", "CoreML", kind) for kind in SavedProgram(path).ops()]


def flatten(parameters: Mapping[str, Tensor], slots: Sequence[Slot]) -> Tensor:
    """The fp16 vector that carries `parameters`, [length], zero where no slot is."""
    places = {slot.parameter: SliceBinding.of(slot) for slot in slots}
    end = max(place.offset + place.size for place in places.values())
    flat = torch.zeros(math.ceil(end / _MULTIPLE) * _MULTIPLE, dtype=torch.float16)
    for parameter, place in places.items():
        flat[place.offset :][: place.size] = parameters[parameter].flatten().half()
    return flat


def _bind_slices(sentinels: Mapping[str, Tensor], source: Literal["input", "state"]) -> tuple[Slot, ...]:
    """The slots of all parameters, one behind the other."""
    slots = []
    offset = 0
    for name, sentinel in sentinels.items():
        size = sentinel.numel()
        slots.append(
            Slot(
                parameter=name,
                shape=tuple(sentinel.shape),
                dtype="float32",
                layout=pytorch_layout(sentinel.dim()),
                binding=SliceBinding(source=source, name=WEIGHTS, offset=offset, size=size),
            )
        )
        offset += size
    return tuple(slots)


class _Sliced(nn.Module):
    """The device model with its generated parameters as slices of a flat last input."""

    def __init__(self, model: nn.Module, slots: Sequence[Slot]) -> None:
        super().__init__()
        self.model, self.slots = model, slots

    def forward(self, *inputs: Tensor) -> Any:
        weights = {}
        for slot in self.slots:
            place = SliceBinding.of(slot)
            piece = inputs[-1][place.offset : place.offset + place.size]
            weights[slot.parameter] = piece.reshape(slot.shape)
        return torch.func.functional_call(self.model, weights, inputs[:-1])


@exporter_step("coremltools")
def _lower(
    model: nn.Module, inputs: tuple[Tensor, ...], names: Sequence[str], spec: ExportSpec, package: Path
) -> None:
    """Write the package of `model`, with fp32 outputs, int32 for int64 and the flat vector in fp16."""
    import coremltools as ct
    import numpy as np
    from torch._decomp import get_decompositions

    # Undecomposed, coremltools refuses the graph; it knows every op of ATen's core but recurrent layers.
    recurrent = get_decompositions([torch.ops.aten.gru.input, torch.ops.aten.lstm.input])
    traced = _with_constant_parameters(trace(model, inputs, spec.sizes), inputs, names, spec.sizes)
    traced = traced.run_decompositions(recurrent)
    varying: dict[tuple[int, int], Any] = {}
    for size in spec.sizes:
        # One object for all places: with two, the sizes would not be known to be one.
        varying |= dict.fromkeys(size.places, ct.RangeDim(size.least, size.most, default=size.example))
    types = {
        torch.int64: np.int32,
        torch.int32: np.int32,
        torch.float32: np.float32,
        torch.float16: np.float16,
    }
    converted = ct.convert(
        traced,
        inputs=[
            ct.TensorType(
                name=name,
                shape=tuple(varying.get((place, k), size) for k, size in enumerate(tensor.shape)),
                dtype=np.float16 if name == WEIGHTS else types[tensor.dtype],
            )
            for place, (name, tensor) in enumerate(zip(names, inputs, strict=True))
        ],
        outputs=[ct.TensorType(name=name, dtype=np.float32) for name in spec.output_names],
        # `read_state` is an op of iOS 18.
        minimum_deployment_target=ct.target.iOS18 if spec.binding == "state" else ct.target.iOS17,
        compute_precision=ct.precision.FLOAT16,
        skip_model_load=True,
    )
    package.parent.mkdir(exist_ok=True)
    converted.save(str(package))
    # For ExecuTorch's developers; CoreML does not read it.
    (package / "executorch_debug_handle_mapping.json").unlink(missing_ok=True)


def _with_constant_parameters(
    traced: ExportedProgram,
    inputs: tuple[Tensor, ...],
    names: Sequence[str],
    sizes: Sequence[BoundedSize],
) -> ExportedProgram:
    """The program without operations that coremltools takes with constant parameters only, or not at all."""
    given = traced.graph_signature.user_inputs[-1:] if names[-1] == WEIGHTS else ()
    generated = downstream(traced, {str(name) for name in given})
    chosen = [
        node
        for node in traced.graph.nodes
        if node.target == torch.ops.aten.rms_norm.default
        or node.target in UNKNOWN_TO_COREMLTOOLS
        or (node.target in AFFINE and takes(node, generated))
        or (node.target in CONVOLUTIONS and takes(node, generated) and is_dilated_or_transposed(node))
    ]
    return rewritten(traced, inputs, AFFINE | CONVOLUTIONS | UNKNOWN_TO_COREMLTOOLS, chosen, sizes)


class _Program:
    """A package in the checker, which is re-entrant: one serves every version and every thread."""

    def __init__(self, package: Path, manifest: Manifest) -> None:
        self._program = SavedProgram(package)
        self._manifest = manifest
        self._expected = Inputs(manifest)
        self._check_signature()

    def bind(self, parameters: Mapping[str, Tensor]) -> Run:
        slots = self._manifest.slots
        return functools.partial(self._run, {WEIGHTS: flatten(parameters, slots)} if slots else {})

    def _run(self, weights: Mapping[str, Tensor], inputs: Sequence[Tensor]) -> list[Tensor]:
        self._expected.check(inputs)
        named = {
            info.name: tensor.int() if tensor.dtype == torch.int64 else tensor
            for info, tensor in zip(self._manifest.inputs, inputs, strict=True)
        }
        outputs = self._program.run({**named, **weights})
        return [outputs[info.name] for info in self._manifest.outputs]

    def _check_signature(self) -> None:
        """The package must take the inputs, and slots where the manifest says, and give its outputs."""
        expected = {info.name: TensorType(info.fixed, _coreml_dtype(info)) for info in self._manifest.inputs}
        states = set()
        if slots := self._manifest.slots:
            zeros = {slot.parameter: torch.zeros(slot.shape) for slot in slots}
            expected[WEIGHTS] = TensorType(tuple(flatten(zeros, slots).shape), torch.float16)
            states = {WEIGHTS} if any(map(_is_state, slots)) else set()
        if self._program.inputs != expected or self._program.states != states:
            raise BundleError(f"the model takes {self._program.inputs}, its manifest says {expected}")


def _is_state(slot: Slot) -> bool:
    return SliceBinding.of(slot).source == "state"


def _coreml_dtype(info: TensorInfo) -> torch.dtype:
    return torch.int32 if info.dtype == "int64" else torch_dtype(info.dtype)
