"""Target `executorch`: a `.pte` of two methods on XNNPACK, the generated parameters in a `.ptd` file.

For programs that link ExecuTorch themselves: iOS, native code, the desktop. `head` is what depends on a
generated parameter, `encode` all the rest, so a swap reloads the few nodes of `head` and nothing else:

    outputs = head(*encode(*inputs), *inputs)

A model without anything to do before its first generated parameter has no `encode`.

ExecuTorch packs the weights of a method when that is loaded. New ones are therefore written into a copy of
the `.ptd`, where a slot is raw bytes at an offset, and `head` is loaded from it into a second method. Whoever
does so in C++ must pass `weight_cache_enabled` as the bool false, or the old packed weights are found again
by name. The runtime checks no sizes: a slot is never written but whole.
"""

import dataclasses
import functools
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import Graph, GraphModule, Node

from mnet.export.format.errors import BundleError
from mnet.export.format.manifest import Manifest, Slot
from mnet.export.format.slots import BytesBinding, bind_bytes, patch, refuse_constants
from mnet.export.lowering.dynamic import BoundedSize, to_trace
from mnet.export.lowering.executorch_profile import Call, profile_of
from mnet.export.lowering.executorch_runtime import library, nodes, runtime, use_threads
from mnet.export.lowering.inputs import Inputs
from mnet.export.lowering.rewriting import for_executorch
from mnet.export.lowering.scratch import ScratchFolder
from mnet.export.lowering.spec import ExportSpec
from mnet.export.lowering.target import Profile, Run, Target
from mnet.export.lowering.tracing import exporter_step, refuse_unused, trace
from mnet.export.lowering.xnnpack_refusals import with_what_xnnpack_takes

PROGRAM_FILE = "model.pte"
WEIGHTS_FILE = "model.ptd"
BAKED_FILE = "bench/baked.pte"
_TAG = "generated"

TARGET = Target(
    packages=("executorch",),
    install="mnet-mobile[executorch]",
    runtime="ExecuTorch, XNNPACK",
    slots=(BytesBinding,),
    dynamic=True,
    native=True,
)

__all__ = ["load_program", "nodes", "profile", "runtime", "write_baked", "write_program"]


def write_program(model: nn.Module, spec: ExportSpec, folder: Path) -> tuple[str, tuple[Slot, ...]]:
    """Write `model.pte` and `model.ptd`; see `TargetModule`."""
    sentinels = {name: model.get_parameter(name).detach() for name in spec.generated}
    traced = trace(model, spec.inputs[0], spec.sizes)
    traced = for_executorch(traced, spec.inputs[0], spec.generated, spec.sizes)
    refuse_unused(traced, spec.generated)
    program, weights = _lower(_split(traced, spec), spec.generated)
    refuse_constants(program, sentinels)
    slots = tuple(bind_bytes(weights, WEIGHTS_FILE, *named) for named in sentinels.items())
    (folder / PROGRAM_FILE).write_bytes(program)
    (folder / WEIGHTS_FILE).write_bytes(weights)
    return PROGRAM_FILE, slots


def write_baked(model: nn.Module, spec: ExportSpec, folder: Path) -> str:
    """Write `bench/baked.pte`, with one method `forward`; see `TargetModule`."""
    path = folder / BAKED_FILE
    path.parent.mkdir(exist_ok=True)
    traced = trace(model, spec.inputs[0], spec.sizes)
    traced = for_executorch(traced, spec.inputs[0], (), spec.sizes)
    program, _ = _lower({"forward": traced}, generated=())
    path.write_bytes(program)
    return BAKED_FILE


def load_program(path: Path, manifest: Manifest, threads: int = 1) -> "_Program":
    """Load a `.pte` on this machine's ExecuTorch; see `TargetModule`."""
    use_threads(threads)
    return _Program(path, manifest)


def profile(
    path: Path, manifest: Manifest, parameters: Mapping[str, Tensor], inputs: Sequence[Tensor]
) -> Profile:
    """What the kernels of a `.pte` take under the weights in its `.ptd`; see `TargetModule`."""
    data = path.read_bytes()
    encodes = "encode" in _method_names(data)

    def infer(call: Call) -> object:
        encoded = call("encode", inputs) if encodes else []
        return call("head", [*encoded, *inputs])

    return profile_of(data, infer, path.parent / WEIGHTS_FILE)


def _split(traced: ExportedProgram, spec: ExportSpec) -> dict[str, ExportedProgram]:
    """The methods `encode`, where there is anything for it to do, and `head`."""
    whole = traced.module(check_guards=False)
    assert isinstance(whole, GraphModule)
    nodes = list(whole.graph.nodes)
    constants = {node for node in nodes if node.op == "get_attr" and node.users}
    generated = {node for node in constants if node.target in spec.generated}
    late = _downstream(nodes, generated)
    # What depends on constants alone is no work for `encode`: each method computes what it needs of it.
    early = _downstream(nodes, {node for node in nodes if node.op == "placeholder"}) - late
    # Nor is what is no tensor, such as a size that varies.
    numbers = {node for node in early if not isinstance(node.meta.get("val"), Tensor)}
    early, late = early - numbers, late | numbers
    passed = [node for node in nodes if node in early and node.op != "placeholder" and late & set(node.users)]
    (result,) = (node for node in nodes if node.op == "output")
    sizes = _sizes_after(passed, whole, spec.sizes)
    if sizes is None:
        passed, sizes = [], spec.sizes
    head = _method(whole, given=passed, results=result.args[0])
    inputs = to_trace(spec.inputs[0], spec.sizes)
    if not passed:
        return {"head": trace(head, inputs, sizes)}
    encode = _method(whole, given=(), results=passed)
    # What a method hands out is contiguous on the runtime, and may be a view here.
    encoded = [each.contiguous() for each in encode(*inputs)]
    return {
        "encode": trace(encode, inputs, spec.sizes),
        "head": trace(head, (*encoded, *inputs), sizes),
    }


def _sizes_after(
    passed: Sequence[Node], whole: GraphModule, sizes: Sequence[BoundedSize]
) -> tuple[BoundedSize, ...] | None:
    """The sizes that vary in `head`, whose first inputs are `passed`; None where one of these has other such sizes."""
    given = [node for node in whole.graph.nodes if node.op == "placeholder"]
    found = []
    places = {
        (k, dimension): size
        for k, node in enumerate(passed)
        for dimension, size in enumerate(node.meta["val"].shape)
        if not isinstance(size, int)
    }
    for each in sizes:
        place, dimension = each.places[0]
        own = given[place].meta["val"].shape[dimension]
        same = [where for where, size in places.items() if size.node.expr == own.node.expr]
        for where in same:
            del places[where]
        moved = ((len(passed) + place, dimension) for place, dimension in each.places)
        found.append(dataclasses.replace(each, places=(*same, *moved)))
    return None if places else tuple(found)


def _downstream(nodes: Sequence[Node], sources: set[Node]) -> set[Node]:
    """`sources` and every node that depends on one; `nodes` are in the order of their execution."""
    found = set(sources)
    for node in nodes:
        if found & set(node.all_input_nodes):
            found.add(node)
    return found


def _method(whole: GraphModule, given: Sequence[Node], results: Sequence[Node]) -> GraphModule:
    """The part of a graph that computes `results` from the values `given` and the whole graph's inputs."""
    graph = Graph()
    copied = {node: graph.placeholder(f"encoded_{k}") for k, node in enumerate(given)}
    # Not `eliminate_dead_code`: it keeps assertions, as of PEFT's casts, and attention, which may be random.
    needed = {*results, *(node for node in whole.graph.nodes if node.op == "placeholder")}
    for node in reversed(whole.graph.nodes):
        if node in needed and node not in given:
            needed.update(node.all_input_nodes)
    for node in whole.graph.nodes:
        if node in needed and node not in copied:
            copied[node] = graph.node_copy(node, copied.__getitem__)
    for node in results:
        if copied[node].op == "placeholder":  # ExecuTorch gives garbage for an output that is an input
            copied[node] = graph.call_function(torch.ops.aten.clone.default, (copied[node],))
    graph.output(tuple(copied[node] for node in results))
    return GraphModule(whole, graph)


def _keep_outside(method: ExportedProgram, generated: Sequence[str]) -> None:
    """Mark the parameters that XNNPACK shall leave in the `.ptd`."""
    # ExecuTorch's own pass marks an untraced graph, by names that torch.export then changes here and there.
    parameters = method.graph_signature.inputs_to_parameters
    for node in method.graph.nodes:
        if parameters.get(node.name) in generated:
            node.meta["custom"] = {"delegate_constant_tag": _TAG}


@exporter_step("ExecuTorch's exporter")
def _lower(methods: Mapping[str, ExportedProgram], generated: Sequence[str]) -> tuple[bytes, bytes]:
    """The `.pte`, and the `.ptd` of the parameters `generated`, empty where all were folded."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import ExecutorchBackendConfig, to_edge_transform_and_lower
    from executorch.exir.passes import MemoryPlanningPass

    for method in methods.values():
        _keep_outside(method, generated)
    edge = with_what_xnnpack_takes(
        lambda configs: to_edge_transform_and_lower(
            dict(methods), partitioner={name: [XnnpackPartitioner(configs=configs)] for name in methods}
        )
    )
    parameters = {
        placeholder: parameter
        for name in methods
        for placeholder, parameter in edge.exported_program(name).graph_signature.inputs_to_parameters.items()
    }

    def outside(node: Node) -> str | None:
        return _TAG if parameters.get(node.name) in generated else None

    # Inputs stay the caller's memory: planned, they would be copied at each call.
    planning = {name: MemoryPlanningPass(alloc_graph_input=False) for name in methods}
    config = ExecutorchBackendConfig(memory_planning_pass=planning, external_constants=outside)
    lowered = edge.to_executorch(config)
    return lowered.buffer, bytes(lowered._tensor_data.get(_TAG, b""))


class _Program:
    """A loaded `.pte`: one `encode` for all versions, and a `head` for each.

    ExecuTorch is not re-entrant and `encode` is shared, so a lock is held from the first call to the last; it
    costs no throughput, for the binding keeps Python's global lock while it runs.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self._data = path.read_bytes()
        self._slots = manifest.slots
        self._template = (path.parent / WEIGHTS_FILE).read_bytes() if manifest.slots else b""
        self._inputs = Inputs(manifest)
        self._scratch = ScratchFolder()
        self._lock = threading.Lock()
        self._encode = _Method(self._data, "encode") if "encode" in _method_names(self._data) else None

    def bind(self, parameters: Mapping[str, Tensor]) -> Run:
        if not self._slots:
            return functools.partial(self._run, _Method(self._data, "forward"))
        with self._scratch.new(".ptd") as path:
            path.write_bytes(patch(self._template, self._slots, parameters))
            return functools.partial(self._run, _Method(self._data, "head", path))

    def _run(self, last: "_Method", inputs: Sequence[Tensor]) -> list[Tensor]:
        """One inference. The outputs of `encode` stay where they are, those of `last` are copied."""
        self._inputs.check(inputs)
        given = [tensor.detach().contiguous() for tensor in inputs]
        with self._lock:
            try:
                encoded = self._encode.call(given, False) if self._encode else []
                return last.call([*encoded, *given], True)
            except RuntimeError as error:
                raise ValueError(f"the model refuses these inputs: {error}") from None


class _Method:
    """A loaded method. It keeps what the library points into without owning it: the program and its bytes."""

    def __init__(self, data: bytes, name: str, weights: Path | None = None) -> None:
        self._data = data
        self._program = _open(data, weights)
        try:
            self.call: Callable[[list[Tensor], bool], list[Tensor]] = self._program.load_method(name).call
        except RuntimeError as error:
            raise BundleError(f"ExecuTorch cannot load method {name}: {error}") from None


def _open(data: bytes, weights: Path | None = None) -> Any:
    try:
        return library()._load_program_from_buffer(data, data_path=weights and str(weights))
    except RuntimeError as error:
        raise BundleError(f"ExecuTorch cannot load the program: {error}") from None


def _method_names(data: bytes) -> set[str]:
    program = _open(data)
    return {program.get_method_name(index) for index in range(program.num_methods())}
