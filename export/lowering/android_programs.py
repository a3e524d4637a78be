"""What target `android` loads on this machine: a `.pte` with its weights by inputs, by bytes, or without any."""

import functools
import itertools
import threading
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from mnet.export.format.errors import BundleError
from mnet.export.format.manifest import Binding, Manifest, Slot, torch_dtype
from mnet.export.format.slots import arranged, patch
from mnet.export.lowering.executorch_runtime import library
from mnet.export.lowering.inputs import Inputs
from mnet.export.lowering.target import Run


class InputBinding(Binding):
    """The slot is an extra input of the program's `forward`, at this position."""

    kind: Literal["input"] = "input"
    index: int = Field(ge=0)
    name: str

    def __str__(self) -> str:
        return "inputs"

    @property
    def where(self) -> str:
        return f"input {self.index}, {self.name}"


def position(slot: Slot) -> int:
    """Which input of `forward` the slot is."""
    return InputBinding.of(slot).index


class ProgramWithInputs:
    """A loaded `.pte`, twice: each new version is bound to the instance that does not serve."""

    def __init__(self, data: bytes, manifest: Manifest) -> None:
        self._slots = sorted(manifest.slots, key=position)
        self._next = itertools.cycle((_Instance(data, manifest), _Instance(data, manifest)))

    def bind(self, parameters: Mapping[str, Tensor]) -> Run:
        weights = tuple(arranged(parameters[slot.parameter], slot.layout) for slot in self._slots)
        return functools.partial(next(self._next).run, weights)


class ProgramWithBytes:
    """A `.pte` of which each version of the weights is a patched copy, loaded under keys of its own."""

    def __init__(self, data: bytes, manifest: Manifest) -> None:
        self._data = data
        self._manifest = manifest
        _Instance(data, manifest)

    def bind(self, parameters: Mapping[str, Tensor]) -> Run:
        patched = patch(self._data, self._manifest.slots, parameters)
        return functools.partial(_Instance(patched, self._manifest).run, ())


class ProgramOfConstants:
    """A loaded `.pte` without anything to bind."""

    def __init__(self, data: bytes, manifest: Manifest) -> None:
        self._instance = _Instance(data, manifest)

    def bind(self, parameters: Mapping[str, Tensor]) -> Run:
        return functools.partial(self._instance.run, ())


class _Instance:
    """One loaded `forward`, which keeps its inputs bound from call to call.

    The weights are handed over once a version, not once a call, and the model's own inputs are copied into
    tensors that stay bound: this saves 2 µs of 30. ExecuTorch is not re-entrant, so a lock is held during
    each call; it costs no throughput, for the binding keeps Python's global lock while it runs.
    """

    def __init__(self, data: bytes, manifest: Manifest) -> None:
        self._lock = threading.Lock()
        # The library points into these bytes without owning them: were they freed, a call would crash.
        self._data = data
        try:
            self._module = library()._load_for_executorch_from_buffer(data)
        except RuntimeError as error:
            raise BundleError(f"ExecuTorch cannot load the program: {error}") from None
        self._expected = Inputs(manifest)
        self._check_signature(manifest)
        self._inputs = [torch.zeros(info.shape, dtype=torch_dtype(info.dtype)) for info in manifest.inputs]
        self._weights: tuple[Tensor, ...] | None = None

    def run(self, weights: tuple[Tensor, ...], inputs: Sequence[Tensor]) -> list[Tensor]:
        """One inference under `weights`. Returns copies: the next call overwrites the outputs' memory."""
        self._expected.check(inputs)
        outputs: list[Tensor]
        with self._lock:
            if self._expected.varies and any(
                bound.shape != given.shape for bound, given in zip(self._inputs, inputs, strict=True)
            ):
                self._inputs = [torch.empty_like(given) for given in inputs]
                self._weights = None
            for bound, given in zip(self._inputs, inputs, strict=True):
                bound.copy_(given.detach())
            try:
                if self._weights is weights:
                    outputs = self._module.plan_execute("forward")
                else:
                    self._weights = None
                    outputs = self._module.forward([*self._inputs, *weights])
                    self._weights = weights
            except RuntimeError as error:
                raise ValueError(f"the model refuses these inputs: {error}") from None
        return outputs

    def _check_signature(self, manifest: Manifest) -> None:
        """The program must take the inputs and the slots that the manifest names, in these places."""
        meta = self._module.method_meta("forward")
        expected = dict(enumerate(self._expected.largest))
        expected |= {
            position(slot): tuple(arranged(torch.empty(slot.shape), slot.layout).shape)
            for slot in manifest.slots
            if slot.binding.kind == "input"
        }
        actual = {index: meta.input_tensor_meta(index).sizes() for index in range(meta.num_inputs())}
        if actual != expected:
            raise BundleError(f"the program takes inputs of shapes {actual}, its manifest says {expected}")
