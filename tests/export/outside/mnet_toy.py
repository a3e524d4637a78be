"""A target of another package: graphs as JSON, weights as named NumPy arrays, a runtime of a few lines.

Nothing in `mnet` knows of it, nor of its kind of slot; it is found through the entry point that
`tests/export/test_outside_target.py` installs.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from mnet.export.format.errors import BundleError
from mnet.export.format.manifest import Binding, Manifest, Runtime, Slot, torch_dtype
from mnet.export.format.slots import pytorch_layout
from mnet.export.lowering.spec import ExportSpec
from mnet.export.lowering.target import Node, Run, Target
from mnet.export.lowering.tracing import exporter_step, trace


class EntryBinding(Binding):
    """The slot is the array of this name in the program's `.npz`."""

    kind: Literal["entry"] = "entry"
    array: str

    def __str__(self) -> str:
        return "arrays"


TARGET = Target(packages=("numpy",), install="mnet-toy", runtime="NumPy", slots=(EntryBinding,))

_OPS: dict[str, Callable[..., Any]] = {
    "aten.embedding.default": lambda table, ids, *_: table[ids],
    "aten.mean.dim": lambda x, axes: x.mean(tuple(axes), dtype=np.float32),
    "aten.linear.default": lambda x, weight, bias=0: x @ weight.T + bias,
    "aten.relu.default": lambda x: np.maximum(x, 0),
    "aten.unsqueeze.default": np.expand_dims,
    "aten.matmul.default": np.matmul,
    "aten.squeeze.dim": np.squeeze,
}


def runtime() -> Runtime:
    return Runtime(name="numpy", version=np.__version__)


def write_program(model: nn.Module, spec: ExportSpec, folder: Path) -> tuple[str, tuple[Slot, ...]]:
    arrays = _write(model, spec, folder / "model.json")
    slots = []
    for name in spec.generated:
        sentinel = model.get_parameter(name).detach()
        found = [key for key, array in arrays.items() if np.array_equal(array, sentinel.numpy())]
        if len(found) != 1:
            raise BundleError(f"generated parameter {name} has {len(found)} slots, not 1")
        shape, layout = tuple(sentinel.shape), pytorch_layout(sentinel.dim())
        binding = EntryBinding(array=found[0])
        slots.append(Slot(parameter=name, shape=shape, dtype="float32", layout=layout, binding=binding))
    return "model.json", tuple(slots)


def write_baked(model: nn.Module, spec: ExportSpec, folder: Path) -> str:
    (folder / "bench").mkdir(exist_ok=True)
    _write(model, spec, folder / "bench" / "baked.json")
    return "bench/baked.json"


def load_program(path: Path, manifest: Manifest, threads: int = 1) -> "_Program":
    return _Program(path, manifest)


def nodes(path: Path) -> list[Node]:
    return [Node("main", "NumPy", node["op"]) for node in json.loads(path.read_text())["nodes"]]


@exporter_step("the toy exporter")
def _write(model: nn.Module, spec: ExportSpec, path: Path) -> dict[str, Any]:
    traced = trace(model, spec.inputs[0])
    signature = traced.graph_signature
    arrays = {
        placeholder: traced.state_dict[name].numpy()
        for placeholder, name in signature.inputs_to_parameters.items()
    }
    calls = [node for node in traced.graph.nodes if node.op == "call_function"]
    if unknown := [node for node in calls if str(node.target) not in _OPS]:
        raise BundleError(f"NumPy has no {unknown[0].target}")
    graph = {
        "inputs": signature.user_inputs,
        "nodes": [
            {"op": str(node.target), "name": node.name, "args": [_argument(each) for each in node.args]}
            for node in calls
        ],
        "outputs": signature.user_outputs,
    }
    path.write_text(json.dumps(graph))
    np.savez(path.with_suffix(".npz"), **arrays)
    return arrays


def _argument(value: Any) -> Any:
    return {"value": value.name} if isinstance(value, torch.fx.Node) else value


class _Program:
    def __init__(self, path: Path, manifest: Manifest) -> None:
        self._graph = json.loads(path.read_text())
        self._arrays = dict(np.load(path.with_suffix(".npz")))
        self._names = {EntryBinding.of(slot).array: slot.parameter for slot in manifest.slots}
        self._expected = [(torch.Size(info.shape), torch_dtype(info.dtype)) for info in manifest.inputs]

    def bind(self, parameters: Mapping[str, Tensor]) -> Run:
        new = {array: parameters[name].numpy().copy() for array, name in self._names.items()}
        arrays = self._arrays | new

        def run(inputs: Sequence[Tensor]) -> list[Tensor]:
            if [(tensor.shape, tensor.dtype) for tensor in inputs] != self._expected:
                raise ValueError(f"the model takes inputs of {self._expected}")
            given = [tensor.numpy() for tensor in inputs]
            known = arrays | dict(zip(self._graph["inputs"], given, strict=True))
            for node in self._graph["nodes"]:
                arguments = [known[a["value"]] if isinstance(a, dict) else a for a in node["args"]]
                known[node["name"]] = _OPS[node["op"]](*arguments)
            return [torch.from_numpy(known[name]) for name in self._graph["outputs"]]

        return run
