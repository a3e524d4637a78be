"""Target `onnx`: one `.onnx` for ONNX Runtime, whose generated parameters are overridable initializers.

A version of the weights is an `.onnx_adapter` file (ONNX Runtime's format for LoRA adapters, which replaces
initializers by name): a memory-mapped file that the options of each run point to. The runtime fails silently
in three ways, which is why everything here is as it is:

- Where an adapter lacks a parameter, or was freed, the initializers stand in. They hold NaN, so no version's
  weights can be mistaken for another's; and each run keeps its adapter alive.
- Writing into a mapped adapter file changes live outputs. So a version is a new file; on the host it loses
  its name once it is mapped.
- Initializers that are no inputs of the graph are folded at load and cannot be replaced: these are inputs.
"""

import importlib.metadata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from mnet.export.format.errors import BundleError
from mnet.export.format.manifest import Binding, Manifest, Runtime, Slot
from mnet.export.format.slots import pytorch_layout, refuse_constants
from mnet.export.lowering.inputs import Inputs
from mnet.export.lowering.scratch import ScratchFolder
from mnet.export.lowering.spec import ExportSpec
from mnet.export.lowering.target import Node, Run, Target
from mnet.export.lowering.tracing import GeneratedAsInputs, exporter_step, trace

PROGRAM_FILE = "model.onnx"
BAKED_FILE = "bench/baked.onnx"


class InitializerBinding(Binding):
    """The slot is the overridable initializer of this name; an `.onnx_adapter` file carries its value."""

    kind: Literal["initializer"] = "initializer"
    name: str

    def __str__(self) -> str:
        return "initializers"

    @property
    def where(self) -> str:
        return f"initializer {self.name}"


TARGET = Target(
    packages=("onnx", "onnxscript", "onnxruntime"),
    install="mnet-mobile[onnx]",
    runtime="ONNX Runtime",
    slots=(InitializerBinding,),
    dynamic=True,
)


def runtime() -> Runtime:
    """ONNX Runtime as installed here."""
    return Runtime(name="onnxruntime", version=importlib.metadata.version("onnxruntime"))


def write_program(model: nn.Module, spec: ExportSpec, folder: Path) -> tuple[str, tuple[Slot, ...]]:
    """Write `model.onnx`; see `TargetModule`."""
    sentinels = {name: model.get_parameter(name).detach() for name in spec.generated}
    # Copies, for torch.export would guard the base of a view.
    given = {name: each.reshape(_stored_shape(each.shape)).clone() for name, each in sentinels.items()}
    traced = trace(GeneratedAsInputs(model, spec), (*spec.inputs[0], *given.values()), spec.sizes)
    lowered = _lower(traced, (*spec.input_names, *spec.generated), spec)
    used = {name for node in lowered.graph.node for name in node.input}
    if unused := [name for name in spec.generated if name not in used]:
        raise BundleError(f"generated parameter {unused[0]} has 0 slots, not 1: the model does not use it")
    refuse_constants(lowered.SerializeToString(), sentinels)
    _make_overridable(lowered, given)
    (folder / PROGRAM_FILE).write_bytes(lowered.SerializeToString())
    return PROGRAM_FILE, tuple(
        Slot(
            parameter=name,
            shape=tuple(sentinel.shape),
            dtype="float32",
            layout=pytorch_layout(sentinel.dim()),
            binding=InitializerBinding(name=name),
        )
        for name, sentinel in sentinels.items()
    )


def write_baked(model: nn.Module, spec: ExportSpec, folder: Path) -> str:
    """Write `bench/baked.onnx`; see `TargetModule`."""
    path = folder / BAKED_FILE
    path.parent.mkdir(exist_ok=True)
    traced = trace(model, spec.inputs[0], spec.sizes)
    path.write_bytes(_lower(traced, spec.input_names, spec).SerializeToString())
    return BAKED_FILE


def load_program(path: Path, manifest: Manifest, threads: int = 1) -> "_Program":
    """Load an `.onnx` on this machine's ONNX Runtime; see `TargetModule`."""
    return _Program(path.read_bytes(), manifest, threads)


def nodes(path: Path) -> list[Node]:
    """The operations of an `.onnx`; see `TargetModule`."""
    import onnx

    return [Node("main", "ONNX Runtime CPU", node.op_type) for node in onnx.load(path).graph.node]


@exporter_step("ONNX's exporter")
def _lower(traced: ExportedProgram, names: Sequence[str], spec: ExportSpec) -> Any:
    """The ONNX model of a traced one, its inputs called `names`, and nothing in it about this machine."""
    program = torch.onnx.export(
        traced,
        dynamo=True,
        external_data=False,
        verbose=False,
        input_names=list(names),
        output_names=list(spec.output_names),
    )
    assert program is not None
    model = program.model_proto
    # The exporter notes for each node which lines of which files it comes from.
    for part in (model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.initializer):
        del part.metadata_props[:]
    return model


def _make_overridable(model: Any, sentinels: Mapping[str, Tensor]) -> None:
    """Give the inputs that are slots an initializer each: NaN, which no run may ever get to see."""
    import onnx

    for name, sentinel in sentinels.items():
        missing = torch.full_like(sentinel, torch.nan).numpy()
        model.graph.initializer.append(onnx.numpy_helper.from_array(missing, name))
    onnx.checker.check_model(model)


class _Program:
    """A loaded `.onnx`. ONNX Runtime is re-entrant, so one session serves every version and every thread."""

    def __init__(self, data: bytes, manifest: Manifest, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 4  # what goes wrong comes as an exception, and not on stderr too
        try:
            self._session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the library's errors have no base class of their own
            raise BundleError(f"ONNX Runtime cannot load the model: {error}") from None
        self._names = [info.name for info in manifest.inputs]
        self._inputs = Inputs(manifest)
        self._slots = {_initializer(slot): slot.parameter for slot in manifest.slots}
        self._check_signature(manifest)
        self._scratch = ScratchFolder()

    def bind(self, parameters: Mapping[str, Tensor]) -> Run:
        weights = {name: parameters[parameter] for name, parameter in self._slots.items()}
        adapter = self._map(weights) if weights else None
        return _Bound(self._session, self._names, self._inputs, adapter)

    def _map(self, weights: Mapping[str, Tensor]) -> Any:
        """An adapter of `weights`, mapped from a file that has no name any more: nobody can write to it."""
        from onnxruntime import LoraAdapter

        adapter = LoraAdapter()
        with self._scratch.new(".onnx_adapter") as path:
            write_adapter(weights, path)
            adapter.Load(str(path))
        return adapter

    def _check_signature(self, manifest: Manifest) -> None:
        """The model must take the inputs and the slots that the manifest names, by these names."""
        expected: dict[str, tuple[int | None, ...]] = {info.name: info.fixed for info in manifest.inputs}
        expected |= {_initializer(slot): _stored_shape(slot.shape) for slot in manifest.slots}
        arguments = (*self._session.get_inputs(), *self._session.get_overridable_initializers())
        # A size that varies is a symbol in the file, without bounds.
        actual = {
            argument.name: tuple(None if isinstance(size, str) else size for size in argument.shape)
            for argument in arguments
        }
        if actual != expected:
            raise BundleError(f"the model takes inputs of shapes {actual}, its manifest says {expected}")


class _Bound:
    """The model under one version of the weights."""

    def __init__(self, session: Any, names: Sequence[str], inputs: Inputs, adapter: Any | None) -> None:
        import onnxruntime

        self._session, self._names, self._inputs = session, names, inputs
        self._options = onnxruntime.RunOptions()
        # The options refer to the adapter without owning it: were it freed, the initializers would be used.
        self._adapter = adapter
        if adapter is not None:
            self._options.add_active_adapter(adapter)

    def __call__(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """One inference; see `Run`."""
        self._inputs.check(inputs)
        feeds = {name: tensor.detach().numpy() for name, tensor in zip(self._names, inputs, strict=True)}
        try:
            outputs = self._session.run(None, feeds, self._options)
        except Exception as error:  # the library's errors have no base class of their own
            raise ValueError(f"the model refuses these inputs: {error}") from None
        return [torch.from_numpy(output) for output in outputs]


def _stored_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """The shape of a parameter in the model and in an adapter, where a single number without dimensions cannot be."""
    return tuple(shape) or (1,)


def _initializer(slot: Slot) -> str:
    """The name of the initializer that the slot is."""
    return InitializerBinding.of(slot).name


def write_adapter(weights: Mapping[str, Tensor], path: Path) -> None:
    """Write an `.onnx_adapter` file that replaces the initializers called like the keys of `weights`."""
    from onnxruntime import AdapterFormat, OrtValue

    adapter = AdapterFormat()
    adapter.set_adapter_version(1)
    adapter.set_model_version(1)
    adapter.set_parameters(
        {
            name: OrtValue.ortvalue_from_numpy(
                tensor.reshape(_stored_shape(tensor.shape)).contiguous().numpy()
            )
            for name, tensor in weights.items()
        }
    )
    adapter.export_adapter(str(path))
