"""Target `android`: one ExecuTorch `.pte` on XNNPACK for the stock Android library.

That library takes no second data file. The generated parameters reach the program in one of two ways:

- `input`: as further inputs of `forward`, after the model's own; the app passes the current weights with every
  call. Each generated Linear must stay one delegated fully-connected node with dynamic weights: left to the
  portable kernels it would be several times slower. XNNPACK packs such weights at each inference, which is
  little for small layers only.
- `bytes`: as constants of the file. A version is a copy of it with the slots overwritten, loaded as a new
  `Module`. XNNPACK's weight cache, which is on in Android's builds, finds constants by their keys, the SHA-256
  of their content: each version writes its own, or the old packed weights would be served on.
"""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.nn import functional

from mnet.export.format.errors import BundleError
from mnet.export.format.manifest import Manifest, Slot
from mnet.export.format.slots import (
    BytesBinding,
    arranged,
    bind_bytes,
    pytorch_layout,
    refuse_constants,
)
from mnet.export.lowering.android_programs import (
    InputBinding,
    ProgramOfConstants,
    ProgramWithBytes,
    ProgramWithInputs,
    position,
)
from mnet.export.lowering.bindings import is_pointwise, owner
from mnet.export.lowering.executorch_profile import profile_of
from mnet.export.lowering.executorch_runtime import nodes, runtime, use_threads
from mnet.export.lowering.rewriting import for_executorch
from mnet.export.lowering.spec import ExportSpec
from mnet.export.lowering.target import Profile, Program, Target
from mnet.export.lowering.tracing import GeneratedAsInputs, exporter_step, refuse_unused, trace
from mnet.export.lowering.xnnpack_inputs import cheapest_binding
from mnet.export.lowering.xnnpack_refusals import with_what_xnnpack_takes

PROGRAM_FILE = "model.pte"
BAKED_FILE = "bench/baked.pte"


TARGET = Target(
    packages=("executorch",),
    install="mnet-mobile[executorch]",
    runtime="ExecuTorch, XNNPACK",
    slots=(InputBinding, BytesBinding),
    bindings=("input", "bytes"),
    choose=cheapest_binding,
    dynamic=True,
    native=True,
)

__all__ = ["load_program", "nodes", "profile", "runtime", "write_baked", "write_program"]


def write_program(model: nn.Module, spec: ExportSpec, folder: Path) -> tuple[str, tuple[Slot, ...]]:
    """Write `model.pte`; see `TargetModule`."""
    lower = _lower_with_bytes if spec.binding == "bytes" else _lower_with_inputs
    data, slots = lower(model, spec)
    (folder / PROGRAM_FILE).write_bytes(data)
    return PROGRAM_FILE, slots


def _lower_with_inputs(model: nn.Module, spec: ExportSpec) -> tuple[bytes, tuple[Slot, ...]]:
    for name in spec.generated:
        _refuse_all_but_linear(model, name)
    linear = _pointwise_as_linear(model, spec.generated)
    sentinels = {name: linear.get_parameter(name).detach() for name in spec.generated}
    inputs = (*spec.inputs[0], *sentinels.values())
    traced = trace(GeneratedAsInputs(linear, spec), inputs, spec.sizes)
    given = [str(name) for name in traced.graph_signature.user_inputs[len(spec.inputs[0]) :]]
    traced = for_executorch(traced, inputs, given, spec.sizes)
    slots = _bind_inputs(traced, model, sentinels)
    data = _lower(traced, slots)
    refuse_constants(data, sentinels)
    return data, slots


def _lower_with_bytes(model: nn.Module, spec: ExportSpec) -> tuple[bytes, tuple[Slot, ...]]:
    traced = trace(model, spec.inputs[0], spec.sizes)
    traced = for_executorch(traced, spec.inputs[0], spec.generated, spec.sizes)
    refuse_unused(traced, spec.generated)
    data = _lower(traced, slots=())
    return data, tuple(
        bind_bytes(data, PROGRAM_FILE, name, model.get_parameter(name).detach(), keyed=True)
        for name in spec.generated
    )


def write_baked(model: nn.Module, spec: ExportSpec, folder: Path) -> str:
    """Write `bench/baked.pte`; see `TargetModule`."""
    path = folder / BAKED_FILE
    path.parent.mkdir(exist_ok=True)
    traced = trace(model, spec.inputs[0], spec.sizes)
    traced = for_executorch(traced, spec.inputs[0], (), spec.sizes)
    path.write_bytes(_lower(traced, slots=()))
    return BAKED_FILE


def load_program(path: Path, manifest: Manifest, threads: int = 1) -> Program:
    """Load a `.pte` on this machine's ExecuTorch; see `TargetModule`."""
    use_threads(threads)
    data = path.read_bytes()
    if not manifest.slots:
        return ProgramOfConstants(data, manifest)
    by_input = any(slot.binding.kind == "input" for slot in manifest.slots)
    return (ProgramWithInputs if by_input else ProgramWithBytes)(data, manifest)


def profile(
    path: Path, manifest: Manifest, parameters: Mapping[str, Tensor], inputs: Sequence[Tensor]
) -> Profile:
    """What the kernels of a `.pte` take; see `TargetModule`."""
    given = sorted((slot for slot in manifest.slots if slot.binding.kind == "input"), key=position)
    weights = [arranged(parameters[slot.parameter], slot.layout) for slot in given]
    return profile_of(path.read_bytes(), lambda call: call("forward", [*inputs, *weights]))


def _refuse_all_but_linear(model: nn.Module, name: str) -> None:
    layer = owner(model, name)
    if not isinstance(layer, nn.Linear) and not is_pointwise(layer):
        raise BundleError(
            f"generated parameter {name} belongs to a {type(layer).__name__}; as inputs, target android takes "
            "those of Linear and of 1x1 convolutions only: take binding bytes, or generate another layer"
        )


class _PointwiseLinear(nn.Module):
    """A 1x1 convolution as a Linear over the channels: XNNPACK takes no convolution whose weight is an input."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.weight = nn.Parameter(convolution.weight.flatten(1), requires_grad=False)
        self.bias = convolution.bias

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x.movedim(1, -1), self.weight, self.bias).movedim(-1, 1)


def _pointwise_as_linear(model: nn.Module, generated: Sequence[str]) -> nn.Module:
    """A copy of `model` whose generated 1x1 convolutions are Linears with the same parameter names."""
    changed = copy.deepcopy(model)
    for path in dict.fromkeys(name.rpartition(".")[0] for name in generated):
        layer = changed.get_submodule(path)
        if isinstance(layer, nn.Conv2d):
            changed.set_submodule(path, _PointwiseLinear(layer))
    return changed


def _bind_inputs(
    traced: ExportedProgram, model: nn.Module, sentinels: Mapping[str, Tensor]
) -> tuple[Slot, ...]:
    """One slot for each generated parameter: the only program input traced with its sentinel."""
    used = {node.name for node in traced.graph.nodes if node.op == "placeholder" and node.users}
    values = dict(zip(traced.graph_signature.user_inputs, traced.example_inputs[0], strict=True))
    slots = []
    for name, sentinel in sentinels.items():
        hits = [
            index
            for index, (placeholder, value) in enumerate(values.items())
            if placeholder in used and value.shape == sentinel.shape and torch.equal(value, sentinel)
        ]
        if len(hits) != 1:
            raise BundleError(
                f"generated parameter {name} has {len(hits)} slots, not 1: the model does not use it"
            )
        slots.append(
            Slot(
                parameter=name,
                shape=tuple(model.get_parameter(name).shape),
                dtype="float32",
                layout=pytorch_layout(sentinel.dim()),
                binding=InputBinding(index=hits[0], name=name),
            )
        )
    return tuple(slots)


@exporter_step("ExecuTorch's exporter")
def _lower(traced: ExportedProgram, slots: Sequence[Slot]) -> bytes:
    """The `.pte`, with every generated Linear delegated."""
    from executorch.exir import ExecutorchBackendConfig, to_edge_transform_and_lower
    from executorch.exir.passes import MemoryPlanningPass

    edge = with_what_xnnpack_takes(
        lambda configs: to_edge_transform_and_lower(traced, partitioner=[_partitioner(configs)])
    )
    _check_delegation(edge.exported_program(), slots)
    # Inputs stay the caller's memory: planned, they would be copied at each call and not stay bound.
    planning = MemoryPlanningPass(alloc_graph_input=False)
    data: bytes = edge.to_executorch(ExecutorchBackendConfig(memory_planning_pass=planning)).buffer
    return data


def _partitioner(configs: Sequence[Any]) -> Any:
    """XNNPACK's, made to take a Linear whose weight or bias is an input; by default it wants constants."""
    from executorch.backends.xnnpack.partition.config.gemm_configs import LinearConfig
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.backends.xnnpack.utils.utils import is_param_node

    class DynamicLinear(LinearConfig):
        def get_deps(self, node: Any, ep: ExportedProgram) -> Any:
            constant = all(is_param_node(ep, operand) for operand in node.args[1:] if operand is not None)
            self.force_non_static_weights_for_f32_linear = not constant
            return super().get_deps(node, ep)

    return XnnpackPartitioner(
        configs=[DynamicLinear if config is LinearConfig else config for config in configs]
    )


def _check_delegation(lowered: ExportedProgram, slots: Sequence[Slot]) -> None:
    """Each generated parameter must go straight into a Linear inside an XNNPACK delegate."""
    names = lowered.graph_signature.user_inputs
    placeholders = {node.name: node for node in lowered.graph.nodes if node.op == "placeholder"}
    for slot in slots:
        users = list(placeholders[str(names[position(slot)])].users)
        if not users or not all(_is_delegated_linear(lowered, user, slot) for user in users):
            raise BundleError(
                f"generated parameter {slot.parameter} is not taken by XNNPACK as that of one Linear "
                f"({', '.join(user.name for user in users)}); use it only by calling its Linear, or "
                "take binding bytes"
            )


def _is_delegated_linear(lowered: ExportedProgram, call: torch.fx.Node, slot: Slot) -> bool:
    """Whether `call` is an XNNPACK delegate that uses the slot's input as weight, or bias, of a Linear."""
    if call.target is not torch.ops.higher_order.executorch_call_delegate:
        return False
    delegate = getattr(lowered.graph_module, str(call.args[0].target))  # type: ignore[union-attr]
    if delegate.backend_id != "XnnpackBackend":
        return False
    inner = delegate.original_module
    passed = [getattr(argument, "name", None) for argument in call.args[1:]]
    outer = str(lowered.graph_signature.user_inputs[position(slot)])
    name = inner.graph_signature.user_inputs[passed.index(outer)]
    (placeholder,) = (node for node in inner.graph.nodes if node.op == "placeholder" and node.name == name)
    argument = 1 if len(slot.layout) == 2 else 2
    return all(
        "aten.linear" in str(user.target) and user.args.index(placeholder) == argument
        for user in placeholder.users
    )
