"""Target `tflite`: one `.tflite` for LiteRT, in which the generated parameters are bytes.

A version of the weights is a copy of the file with its slots overwritten, and a new interpreter on it: the
graph is that of the model with constant weights, so inference costs nothing more. What LiteRT does silently:

- XNNPACK packs the weights when an interpreter is made, and a weight cache finds the old ones by name. There
  is none here; where an app wants one, it needs a new cache file for each version.
- An interpreter reads the model's bytes as long as it lives. A version therefore never shares its bytes.
- int64 does not exist on most of its kernels: the file takes int32 where the model takes int64.
"""

import functools
import importlib
import importlib.metadata
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mnet.export.format.errors import BundleError
from mnet.export.format.golden import TOLERANCE, flattened, relative_error
from mnet.export.format.manifest import Manifest, Runtime, Slot, torch_dtype
from mnet.export.format.slots import BytesBinding, bind_bytes, find, patch
from mnet.export.lowering.quiet import muted
from mnet.export.lowering.spec import ExportSpec
from mnet.export.lowering.target import Node, Run, Target
from mnet.export.lowering.tflite_folding import NOTHING_KEPT, Kept, inputs_as_constants, with_barriers
from mnet.export.lowering.tflite_quantizer import quantize_base
from mnet.export.lowering.tracing import GeneratedAsInputs, exporter_step, refuse_unused, trace

PROGRAM_FILE = "model.tflite"
BAKED_FILE = "bench/baked.tflite"
_SIGNATURE = "serving_default"
_TINY = 1e-12

TARGET = Target(
    packages=("litert_torch", "ai_edge_litert", "ai_edge_quantizer"),
    install="mnet-mobile[tflite]",
    runtime="LiteRT, XNNPACK",
    slots=(BytesBinding,),
    quantizes=True,
)


def runtime() -> Runtime:
    """LiteRT as installed here."""
    return Runtime(name="ai-edge-litert", version=importlib.metadata.version("ai-edge-litert"))


def write_program(model: nn.Module, spec: ExportSpec, folder: Path) -> tuple[str, tuple[Slot, ...]]:
    """Write `model.tflite`; see `TargetModule`."""
    refuse_unused(trace(model, spec.inputs[0]), spec.generated)
    kept = NOTHING_KEPT
    while True:
        lower(model, spec, folder / PROGRAM_FILE, kept)
        data = (folder / PROGRAM_FILE).read_bytes()
        hits = {name: len(find(data, model.get_parameter(name).detach())) for name in spec.generated}
        lost = {name for name, count in hits.items() if count != 1} or _stale(data, model, spec)
        if not lost:
            break
        kept = kept.and_more(lost, model)
    return PROGRAM_FILE, _bind(data, model, spec.generated)


def _bind(data: bytes, model: nn.Module, generated: Sequence[str]) -> tuple[Slot, ...]:
    return tuple(
        bind_bytes(data, PROGRAM_FILE, name, model.get_parameter(name).detach()) for name in generated
    )


def _stale(data: bytes, model: nn.Module, spec: ExportSpec) -> set[str]:
    """The parameters that, moved alone, do not move the outputs as in eager PyTorch: a copy of theirs was folded."""
    inputs, stale = spec.inputs[0], set()
    for slot in _bind(data, model, spec.generated):
        moved = {slot.parameter: -1.5 * model.get_parameter(slot.parameter).detach()}
        expected = flattened(torch.func.functional_call(model, moved, inputs))
        with muted():
            moving = _Interpreter(
                patch(data, (slot,), moved), [(each.shape, each.dtype) for each in inputs], 1
            )
        if relative_error(moving.run(inputs), expected, [_TINY] * len(expected)) > TOLERANCE:
            stale.add(slot.parameter)
    return stale


def write_baked(model: nn.Module, spec: ExportSpec, folder: Path) -> str:
    """Write `bench/baked.tflite`; see `TargetModule`."""
    path = folder / BAKED_FILE
    path.parent.mkdir(exist_ok=True)
    lower(model, spec, path)
    return BAKED_FILE


def load_program(path: Path, manifest: Manifest, threads: int = 1) -> "_Program":
    """Load a `.tflite` on this machine's LiteRT; see `TargetModule`."""
    return _Program(path.read_bytes(), manifest, threads)


def nodes(path: Path) -> list[Node]:
    """The operations of a `.tflite`, and which of them XNNPACK takes on this machine; see `TargetModule`."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=1)
    with muted():
        interpreter.allocate_tensors()
    details = interpreter._get_ops_details()
    ops = [each for each in details if each["op_name"] != "DELEGATE"]
    taken = set()
    for delegate in (each for each in details if each["op_name"] == "DELEGATE"):
        # What it replaced is listed on; those ops are what its outputs are computed by from its inputs.
        wanted, given = set(delegate["outputs"]), set(delegate["inputs"])
        for op in reversed(ops):
            if wanted & set(op["outputs"]):
                taken.add(op["index"])
                wanted |= set(op["inputs"]) - given
    engines = {True: "XNNPACK", False: "LiteRT kernels"}
    return [Node(_SIGNATURE, engines[op["index"] in taken], op["op_name"]) for op in ops]


@exporter_step("LiteRT's exporter")
def lower(model: nn.Module, spec: ExportSpec, path: Path, kept: Kept = NOTHING_KEPT) -> None:
    """Write the `.tflite` of `model`: the same weights give the same bytes, new ones change their slots only."""
    exporter = _exporter()
    given = tuple(name for name in spec.generated if name in kept.given)
    values = [model.get_parameter(name).detach() for name in given]
    inputs = (*spec.inputs[0], *values)
    whole = GeneratedAsInputs(model, replace(spec, generated=given)) if given else model
    prefix = "model." if given else ""
    traced = trace(whole, inputs)
    barred = with_barriers(traced, {f"{prefix}{name}" for name in kept.barred - kept.given})
    exporter.convert(barred, inputs).export(str(path))
    if given:
        first = len(spec.inputs[0])
        path.write_bytes(inputs_as_constants(path.read_bytes(), dict(enumerate(values, first))))
    if spec.base_dtype == "int8":
        generated = [model.get_parameter(name).detach() for name in spec.generated]
        path.write_bytes(quantize_base(path.read_bytes(), generated))


@functools.cache
def _exporter() -> Any:
    """litert-torch, made to print nothing: its progress is not ours, its C++ logs are for its developers."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("LITERT_TORCH_SHOW_PROGRESS", "n")
    with muted():
        return importlib.import_module("litert_torch")


class _Program:
    """A `.tflite`, of which each version of the weights gets a copy and an interpreter."""

    def __init__(self, data: bytes, manifest: Manifest, threads: int) -> None:
        self._data = data
        self._manifest = manifest
        self._threads = threads
        self._inputs = [(torch.Size(info.shape), torch_dtype(info.dtype)) for info in manifest.inputs]
        with muted():  # it reports once that it has XNNPACK
            interpreter = _Interpreter(data, self._inputs, threads)
        interpreter.check_signature(manifest)
        self._constant = None if manifest.slots else interpreter

    def bind(self, parameters: Mapping[str, Tensor]) -> Run:
        if self._constant:
            return self._constant.run
        patched = patch(self._data, self._manifest.slots, parameters)
        return _Interpreter(patched, self._inputs, self._threads).run


class _Interpreter:
    """One version of the model. LiteRT is not re-entrant, so a lock is held during each inference."""

    def __init__(self, data: bytes, inputs: Sequence[tuple[torch.Size, torch.dtype]], threads: int) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._data = data
        self._expected = [*inputs]
        self._lock = threading.Lock()
        try:
            self._interpreter = Interpreter(model_content=data, num_threads=threads)
            self._interpreter.allocate_tensors()
            runner = self._interpreter.get_signature_runner(_SIGNATURE)
        except (RuntimeError, ValueError) as error:
            raise BundleError(f"LiteRT cannot load the model: {error}") from None
        self._inputs = _in_order(runner.get_input_details(), "args_")
        self._outputs = _in_order(runner.get_output_details(), "output_")

    def run(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """One inference; see `Run`."""
        if [(tensor.shape, tensor.dtype) for tensor in inputs] != self._expected:
            raise ValueError(f"the model takes inputs of {self._expected}")
        with self._lock:
            for details, tensor in zip(self._inputs, inputs, strict=True):
                value = tensor.detach().numpy()
                self._interpreter.set_tensor(details["index"], value.astype(details["dtype"], copy=False))
            try:
                self._interpreter.invoke()
            except RuntimeError as error:
                raise ValueError(f"the model refuses these inputs: {error}") from None
            return [
                torch.from_numpy(self._interpreter.get_tensor(details["index"])) for details in self._outputs
            ]

    def check_signature(self, manifest: Manifest) -> None:
        """The file must take the inputs and give the outputs that the manifest names."""
        for part, found, named in (
            ("takes inputs", self._inputs, manifest.inputs),
            ("gives outputs", self._outputs, manifest.outputs),
        ):
            actual = [tuple(map(int, details["shape"])) for details in found]
            expected = [info.shape for info in named]
            if actual != expected:
                raise BundleError(f"the model {part} of shapes {actual}, its manifest says {expected}")


def _in_order(details: Mapping[str, Any], prefix: str) -> list[Any]:
    """The exporter numbers inputs and outputs, `args_0` and on; LiteRT lists them by the alphabet."""
    return [details[name] for name in sorted(details, key=lambda name: int(name.removeprefix(prefix)))]
