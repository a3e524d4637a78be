"""What a target is: its description, the functions of its module, and the programs that these load."""

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torch import Tensor, nn

from mnet.export.format.golden import TOLERANCE
from mnet.export.format.manifest import Binding, Manifest, Runtime, Slot, torch_dtype
from mnet.export.format.tensors import DTYPES
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


@dataclass(frozen=True)
class Profile:
    """Where an inference spends its time by the runtime's own clock: medians, in microseconds.

    `kernels_us` is what each operation takes that no delegate runs, all its calls together.
    """

    inference_us: float
    kernels_us: Mapping[str, float]

    def __str__(self) -> str:
        kernels = sum(self.kernels_us.values())
        return f"{kernels:.1f} of {self.inference_us:.1f} µs of an inference here, {kernels / self.inference_us:.0%}"


@dataclass(frozen=True)
class Choice:
    """How new weights reach a program: one of the target's ways, and why, for people."""

    binding: str | None
    why: str


@dataclass(frozen=True)
class Target:
    """The description of a target, `TARGET` in its module. Every command and table takes what it says from here.

    Attributes:
        packages: what must be importable to export for it and to run it.
        install: what `pip install` installs these with.
        runtime: what runs its programs, for people.
        slots: the kinds of binding that its slots may have.
        tolerance: what an output may be off by, relative to its size (`mnet.export.format.golden`).
        inputs: the dtypes that a model's inputs may have.
        bindings: the ways of handing over new weights that `--binding` offers; empty where there is one only.
        choose: picks one of them for a model; the first one is taken where this is None.
        quantizes: whether the layers that are not generated can be int8 (`mnet.export.lowering.quantization`).
        dynamic: whether sizes of inputs can vary within bounds (`mnet.export.lowering.dynamic`).
        runs_here: whether its real runtime runs on this machine; otherwise a bundle is checked only, and not timed.
        native: whether `mnet-runner`, the native program of `android_demo/native`, runs its bundles.
    """

    packages: tuple[str, ...]
    install: str
    runtime: str
    slots: tuple[type[Binding], ...]
    tolerance: float = TOLERANCE
    inputs: tuple[str, ...] = DTYPES
    bindings: tuple[str, ...] = ()
    choose: Callable[[ExportSpec], Choice] | None = None
    quantizes: bool = False
    dynamic: bool = False
    runs_here: bool = True
    native: bool = False

    @property
    def installed(self) -> bool:
        """Whether its packages are."""
        return all(importlib.util.find_spec(package) is not None for package in self.packages)


class InDtypes:
    """A program whose outputs have the dtypes of the manifest: some runtimes have an int32 for an int64."""

    def __init__(self, program: Program, manifest: Manifest) -> None:
        self._program = program
        self._dtypes = [torch_dtype(info.dtype) for info in manifest.outputs]

    def bind(self, parameters: Mapping[str, Tensor]) -> Run:
        """As `Program.bind`."""
        run = self._program.bind(parameters)
        return lambda inputs: [
            output.to(dtype) for output, dtype in zip(run(inputs), self._dtypes, strict=True)
        ]


class TargetModule(Protocol):
    """What a target's module offers. Its functions import runtime and exporter inside, for both are slow.

    Where the runtime tells what its kernels take, the module also has `profile(path, manifest, parameters, inputs)`,
    which gives the `Profile` of a written program.
    """

    TARGET: Target

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

        The slots' bindings are of the classes that `TARGET.slots` names. One thread, for a second costs a compact
        model more than it saves. BundleError for a number that cannot be.
        """
        ...

    def nodes(self, path: Path) -> list[Node]:
        """The operations of a written program, in the order of the file."""
        ...
