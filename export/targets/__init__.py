"""The targets that a model can be exported for: each is one module of this package, found here by name."""

import importlib
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

from torch import Tensor, nn

from mnet.export.format.errors import BundleError
from mnet.export.format.golden import HALF_TOLERANCE, TOLERANCE
from mnet.export.format.manifest import Manifest, Runtime, Slot
from mnet.export.lowering.spec import ExportSpec

Run = Callable[[Sequence[Tensor]], list[Tensor]]
"""One inference: the model's inputs, batch 1, to its outputs, which belong to the caller."""


class Program(Protocol):
    """A device model loaded on its runtime."""

    def bind(self, parameters: Mapping[str, Tensor]) -> Run:
        """The model under these generated parameters. What was bound before keeps its own."""
        ...


@dataclass(frozen=True)
class Node:
    """One operation of a program: the method that it is in, what runs it, and what the runtime calls it."""

    method: str
    engine: str
    op: str


class TargetModule(Protocol):
    """What a target's module offers. Its functions import runtime and exporter inside, for both are slow."""

    def runtime(self) -> Runtime:
        """The installed runtime."""
        ...

    def write_program(self, model: nn.Module, spec: ExportSpec, folder: Path) -> tuple[str, tuple[Slot, ...]]:
        """Write the swappable program of `model`, which holds sentinels; its path and slots.

        Raises BundleError if a sentinel does not end in exactly one slot.
        """
        ...

    def write_baked(self, model: nn.Module, spec: ExportSpec, folder: Path) -> str:
        """Write `model` with all its parameters as constants; its path inside `folder`."""
        ...

    def load_program(self, path: Path, manifest: Manifest, threads: int = 1) -> Program:
        """Load what `write_program` wrote or, for a manifest without slots, what `write_baked` wrote.

        One thread, for a second costs a compact model more than it saves. BundleError for a number that cannot be.
        """
        ...

    def nodes(self, path: Path) -> list[Node]:
        """The operations of a written program, in the order of the file."""
        ...


@dataclass(frozen=True)
class Target:
    """What is known of a target without importing it.

    `tolerance` is what a golden output may be off (`mnet.export.format.golden`), and `bindings` are the ways of handing
    over new weights that it leaves a choice of (`mnet.export.lowering.bindings`). One that `quantizes` can have a
    base of int8 (`mnet.export.lowering.quantization`). A target that `runs_here` has its real
    runtime on this machine, once its `packages` are installed; another can be exported and checked only.
    """

    module: str
    packages: tuple[str, ...]
    extra: str
    runtime: str
    tolerance: float = TOLERANCE
    bindings: tuple[str, ...] = ()
    quantizes: bool = False
    runs_here: bool = True

    @property
    def installed(self) -> bool:
        """Whether its packages are."""
        return all(importlib.util.find_spec(package) is not None for package in self.packages)


TARGETS = {
    "android": Target(
        "mnet.export.targets.android",
        ("executorch",),
        "executorch",
        "ExecuTorch, XNNPACK",
        bindings=("input", "bytes"),
    ),
    "executorch": Target(
        "mnet.export.targets.executorch", ("executorch",), "executorch", "ExecuTorch, XNNPACK"
    ),
    "onnx": Target("mnet.export.targets.onnx", ("onnx", "onnxscript", "onnxruntime"), "onnx", "ONNX Runtime"),
    "tflite": Target(
        "mnet.export.targets.tflite",
        ("litert_torch", "ai_edge_litert", "ai_edge_quantizer"),
        "tflite",
        "LiteRT, XNNPACK",
        quantizes=True,
    ),
    "ios": Target(
        "mnet.export.targets.ios",
        ("coremltools",),
        "ios",
        "CoreML; here a checker of the saved program",
        tolerance=HALF_TOLERANCE,
        bindings=("input", "state"),
        runs_here=False,
    ),
}


def target_names() -> tuple[str, ...]:
    """Every target there is."""
    return tuple(TARGETS)


def find_target(name: str) -> Target:
    """The target of this name; BundleError if there is none."""
    if name not in TARGETS:
        raise BundleError(f"unknown target {name!r}; known targets: {', '.join(TARGETS)}")
    return TARGETS[name]


def load_target(name: str) -> TargetModule:
    """The module of a target; BundleError if there is no such target or its packages are not installed."""
    target = find_target(name)
    if not target.installed:
        raise BundleError(f'target {name} needs the extra: pip install "mnet-mobile[{target.extra}]"')
    return cast(TargetModule, importlib.import_module(target.module))
