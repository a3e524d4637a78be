"""A checker of saved CoreML packages: reads an `.mlpackage` from disk and evaluates it op by op in PyTorch.

There is no CoreML off Apple's systems, so this shows one thing: that the program which was *serialized*, with
the weights in its blob file, computes what eager PyTorch does. It does not show that CoreML accepts the
package, nor how Apple's hardware schedules or rounds it.

Each op is computed in fp32 and its result rounded to the type that the program declares for it, mostly fp16; its
shape must be the declared one. What the table of `mnet.export.lowering.coreml_ops` knows, it computes, and coremltools'
own value inference is asked for a second opinion; what the table lacks, coremltools computes alone. An op that neither
computes is an error.

The formats: ML programs in protobuf (Apple's `MIL.proto`, `Model.proto`, shipped with coremltools); blob files
of version 2, where a value's offset names a record of 64 bytes (`0xDEADBEEF`, type, size, offset of the data).
"""

import json
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mnet.export.format.errors import BundleError
from mnet.export.lowering.coreml_inference import can_infer, infer
from mnet.export.lowering.coreml_ops import OPS
from mnet.export.lowering.quiet import quiet

FUNCTION = "main"
_STATES_SINCE = "CoreML8"
_BLOB_RECORD = struct.Struct("<IIQQ")
_BLOB_MAGIC = 0xDEADBEEF
# By the name that MIL.proto gives a type. PyTorch computes little in uint16; ids fit int32 as well.
_DTYPES = {
    "FLOAT16": (np.float16, torch.float16),
    "FLOAT32": (np.float32, torch.float32),
    "INT8": (np.int8, torch.int8),
    "UINT8": (np.uint8, torch.uint8),
    "INT16": (np.int16, torch.int16),
    "UINT16": (np.uint16, torch.int32),
    "INT32": (np.int32, torch.int32),
    "BOOL": (np.bool_, torch.bool),
}


@dataclass(frozen=True)
class TensorType:
    """Shape and dtype that a program declares for a value; a size is None where it varies."""

    shape: tuple[int | None, ...]
    dtype: torch.dtype

    def takes(self, shape: Sequence[int]) -> bool:
        """Whether a value of this shape can be it."""
        return len(shape) == len(self.shape) and all(
            declared in (None, size) for size, declared in zip(shape, self.shape, strict=True)
        )


@dataclass(frozen=True)
class _Operation:
    """`arguments` are names of values, or lists of such."""

    kind: str
    arguments: dict[str, str | list[str]]
    results: dict[str, TensorType]


class SavedProgram:
    """The function `main` of a saved package; it never changes, so threads may share it.

    `inputs` are its inputs and, in the same map, its states, which it may read and not write.
    """

    def __init__(self, package: Path) -> None:
        """Read the package; BundleError where it is none, or uses what this checker does not know."""
        specification = _read_specification(package)
        function = specification.mlProgram.functions[FUNCTION]
        block = function.block_specializations[function.opset]
        self.inputs = {each.name: _input_type(each.type) for each in function.inputs}
        self.states = {each.name for each in function.inputs if each.type.WhichOneof("type") == "stateType"}
        self.outputs = list(block.outputs)
        self._opset = function.opset
        self._constants: dict[str, Any] = {}
        self._operations: list[_Operation] = []
        blobs = _Blobs(package / "Data" / "com.apple.CoreML")
        for operation in block.operations:
            if operation.type == "const":
                value = _value(operation.attributes["val"], blobs)
                self._constants[operation.outputs[0].name] = value
            elif operation.type == "read_state" and function.opset != _STATES_SINCE:
                raise BundleError(f"read_state is of opset {_STATES_SINCE}, the program of {function.opset}")
            elif operation.type in OPS or can_infer(operation.type):
                self._operations.append(self._read(operation, blobs))
            else:
                raise BundleError(f"the checker of CoreML programs does not know the op {operation.type}")

    def run(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The outputs by name; ValueError where the inputs or states are not those that `inputs` names."""
        if values.keys() != self.inputs.keys() or not all(
            self.inputs[name].dtype == value.dtype and self.inputs[name].takes(value.shape)
            for name, value in values.items()
        ):
            raise ValueError(f"the model takes {self.inputs}")
        known = self._constants | dict(values)
        for operation in self._operations:
            _compute(operation, known, self._opset)
        return {name: known[name] for name in self.outputs}

    def ops(self) -> list[str]:
        """The kinds of its operations, in order."""
        return [operation.kind for operation in self._operations]

    def _read(self, operation: Any, blobs: "_Blobs") -> _Operation:
        # Quantized weights are attributes of the op that unpacks them, everything else is an argument.
        arguments: dict[str, str | list[str]] = {}
        for name, attribute in operation.attributes.items():
            if name != "name":
                arguments[name] = self._keep(attribute, f"{operation.outputs[0].name}.{name}", blobs)
        for name, argument in operation.inputs.items():
            found = [
                bound.name
                if bound.WhichOneof("binding") == "name"
                else self._keep(bound.value, f"{operation.outputs[0].name}.{name}.{k}", blobs)
                for k, bound in enumerate(argument.arguments)
            ]
            arguments[name] = found if name == "values" else found[0]
        results = {result.name: _tensor_type(result.type.tensorType) for result in operation.outputs}
        return _Operation(operation.type, arguments, results)

    def _keep(self, value: Any, name: str, blobs: "_Blobs") -> str:
        self._constants[name] = _value(value, blobs)
        return name


def _compute(operation: _Operation, known: dict[str, Any], opset: str) -> None:
    """Add the results of one operation to the known values."""
    arguments = {
        name: [_widened(known[each]) for each in of] if isinstance(of, list) else _widened(known[of])
        for name, of in operation.arguments.items()
    }
    try:
        results = _evaluate(operation.kind, arguments, opset)
    except (IndexError, RuntimeError) as error:
        raise ValueError(f"the model refuses these inputs: {operation.kind}: {error}") from None
    except TypeError as error:
        raise BundleError(
            f"the checker of CoreML programs knows the op {operation.kind} otherwise: {error}"
        ) from None
    for (name, declared), result in zip(operation.results.items(), results, strict=True):
        if not declared.takes(result.shape):
            raise BundleError(f"{name} has shape {tuple(result.shape)}, its program says {declared.shape}")
        known[name] = result.to(declared.dtype)


def _evaluate(kind: str, arguments: Mapping[str, Any], opset: str) -> tuple[Tensor, ...]:
    """The results of an op by our table or, where it lacks the op, by coremltools; the two must agree.

    They are compared once in a process for arguments of the same names and shapes.
    """
    ours: tuple[Tensor, ...] | None = None
    if kind in OPS:
        computed = OPS[kind](**arguments)
        ours = computed if isinstance(computed, tuple) else (computed,)
        sort = (kind, opset, *((name, _shapes(value)) for name, value in arguments.items()))
        if sort in _compared or not can_infer(kind) or kind in _NOT_COMPARED:
            return ours
        _compared.add(sort)
    theirs = infer(kind, opset, arguments)
    if theirs is None:
        if ours is None:
            raise TypeError("neither it nor coremltools computes this form of it")
        return ours
    if ours is not None and not all(map(_agree, ours, theirs)):
        raise TypeError(f"coremltools computes something else from arguments {sort[2:]}")
    return theirs if ours is None else ours


def _shapes(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(map(_shapes, value))
    return value.shape if isinstance(value, Tensor) else value


def _agree(ours: Tensor, theirs: Tensor) -> bool:
    if ours.shape != theirs.shape:
        return False
    return torch.allclose(ours.double(), theirs.double(), rtol=1e-3, atol=1e-4, equal_nan=True)


_compared: set[tuple[Any, ...]] = set()
# A cast is the rounding of results, which is done for every op; the others exist in saved programs only.
_NOT_COMPARED = {"cast", "read_state"}


def _widened(value: Any) -> Any:
    """fp16 as fp32, in which every op is computed."""
    return value.float() if isinstance(value, Tensor) and value.dtype == torch.float16 else value


def _read_specification(package: Path) -> Any:
    with quiet():
        from coremltools.proto import Model_pb2
        from google.protobuf.message import DecodeError

    specification = Model_pb2.Model()
    try:
        manifest = json.loads((package / "Manifest.json").read_bytes())
        root = manifest["itemInfoEntries"][manifest["rootModelIdentifier"]]["path"]
        specification.ParseFromString((package / "Data" / root).read_bytes())
    except (OSError, ValueError, KeyError, DecodeError) as error:
        raise BundleError(f"{package} is no readable .mlpackage: {error}") from None
    if FUNCTION not in specification.mlProgram.functions:
        raise BundleError(f"{package} holds no ML program with a function {FUNCTION}")
    return specification


def _input_type(kind: Any) -> TensorType:
    wrapped = kind.stateType.wrappedType if kind.WhichOneof("type") == "stateType" else kind
    return _tensor_type(wrapped.tensorType)


def _tensor_type(declared: Any) -> TensorType:
    shape = tuple(
        None if each.WhichOneof("dimension") == "unknown" else each.constant.size
        for each in declared.dimensions
    )
    return TensorType(shape, _dtypes(declared)[1])


def _dtypes(declared: Any) -> tuple[Any, torch.dtype]:
    from coremltools.proto import MIL_pb2

    name = MIL_pb2.DataType.Name(declared.dataType)
    if name not in _DTYPES:
        raise BundleError(f"the checker of CoreML programs does not know the type {name}")
    return _DTYPES[name]


def _value(value: Any, blobs: "_Blobs") -> Tensor | str:
    """A constant, from the program itself or from a blob file."""
    declared = value.type.tensorType
    kind = value.immediateValue.tensor.WhichOneof("value")
    if kind == "strings":
        return str(value.immediateValue.tensor.strings.values[0])
    stored, dtype = _dtypes(declared)
    if value.WhichOneof("value") == "blobFileValue":
        place = value.blobFileValue
        array = np.frombuffer(blobs.read(place.fileName, place.offset), stored)
    elif kind == "bytes":
        array = np.frombuffer(value.immediateValue.tensor.bytes.values, stored)
    else:
        array = np.array(getattr(value.immediateValue.tensor, kind).values, stored)
    shape = [dimension.constant.size for dimension in declared.dimensions]
    if array.size != math.prod(shape):
        raise BundleError(f"a constant of the program has {array.size} elements, its type says {shape}")
    return torch.from_numpy(array.reshape(shape).copy()).to(dtype)


class _Blobs:
    """The blob files of a package, each read once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._contents: dict[str, bytes] = {}

    def read(self, name: str, offset: int) -> bytes:
        """The data of the record at `offset` of a file, which programs call `@model_path/...`."""
        if name not in self._contents:
            self._contents[name] = (self._folder / name.removeprefix("@model_path/")).read_bytes()
        content = self._contents[name]
        try:
            magic, _, size, start = _BLOB_RECORD.unpack_from(content, offset)
        except struct.error:
            magic, size, start = 0, 0, 0
        if magic != _BLOB_MAGIC or start + size > len(content):
            raise BundleError(f"{name} of the package has no whole record at {offset}")
        return content[start : start + size]
