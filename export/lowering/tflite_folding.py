"""What keeps LiteRT's exporter from folding a generated parameter into neighbouring constants.

It multiplies `linear(x) * 0.5` out, merges convolution and BatchNorm, adds up biases: right for a constant, and the
end of a slot. Two ways around it, none of which costs a delegated layer at inference:

- A *barrier* (`stablehlo.optimization_barrier`) behind the parameter: its passes see an unknown value, and the
  barrier itself is gone from the file. Folding that comes after that, of parameters with each other as in
  `weight_norm`, it does not stop.
- The parameter as an *input* of the graph, which is made a constant of the file once that is written.
"""

import operator
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import GraphModule

from mnet.export.format.errors import BundleError


@dataclass(frozen=True)
class Kept:
    """The generated parameters that an export keeps from being folded: behind a barrier, or as inputs first."""

    barred: frozenset[str] = frozenset()
    given: frozenset[str] = frozenset()

    def and_more(self, lost: Collection[str], model: nn.Module) -> "Kept":
        """What to try where the parameters `lost` were folded all the same; BundleError where nothing is left."""
        if fresh := {*lost} - self.barred:
            # A bias stays within its layer where the layer's weight is behind a barrier.
            weights = {name for name in fresh if model.get_parameter(name).dim() > 1}
            return replace(self, barred=self.barred | (weights or fresh))
        if fresh := {*lost} - self.given:
            return replace(self, given=self.given | fresh)
        raise BundleError(
            f"generated parameter {min(lost)} cannot be kept apart from other constants by LiteRT's exporter, "
            "which folds it into them; generate another parameter, or take another target"
        )


NOTHING_KEPT = Kept()


def with_barriers(traced: ExportedProgram, parameters: Collection[str]) -> nn.Module:
    """The module of a traced program, with a barrier behind each of these parameters."""
    from litert_torch.backend.optimization_barrier import optimization_barrier_op

    module = traced.module(check_guards=False)
    assert isinstance(module, GraphModule)
    graph = module.graph
    for node in [each for each in graph.nodes if each.op == "get_attr" and each.target in parameters]:
        users = list(node.users)
        with graph.inserting_after(node):
            # Twice, for of a single value litert-torch makes no list, from which the graph could take it.
            barrier = graph.call_function(optimization_barrier_op, ([node, node],))
        with graph.inserting_after(barrier):
            behind = graph.call_function(operator.getitem, (barrier, 0))
        for user in users:
            user.replace_input_with(node, behind)
    module.recompile()
    return module


def inputs_as_constants(data: bytes, values: Mapping[int, Tensor]) -> bytes:
    """A `.tflite` whose inputs number k, as its signature counts them, are the constants `values[k]` instead."""
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.tools import flatbuffer_utils

    model: Any = flatbuffer_utils.read_model_from_bytearray(bytearray(data))
    graph, signature = model.subgraphs[0], model.signatureDefs[0]
    numbered = {int(bytes(each.name).removeprefix(b"args_")): each for each in signature.inputs}
    constants = {}
    for number, value in values.items():
        index = numbered[number].tensorIndex
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(value.contiguous().numpy().tobytes(), np.uint8)
        graph.tensors[index].buffer = len(model.buffers)
        model.buffers.append(buffer)
        constants[index] = numbered[number]
    graph.inputs = [index for index in graph.inputs if index not in constants]
    signature.inputs = [each for each in signature.inputs if each.tensorIndex not in constants]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))
