"""Operations that a runtime's exporter takes with constant parameters only, written with others that it takes.

A table names an operation of a traced graph and what computes the same. Where a generated parameter (or a value
computed from one) is the operation's own parameter, the second is traced in place of the first.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node, Transformer
from torch.nn import functional

from mnet.export.format.errors import BundleError
from mnet.export.lowering.dynamic import BoundedSize
from mnet.export.lowering.norms import (
    Shape,
    batch_norm,
    group_norm,
    instance_norm,
    layer_norm,
    prelu,
    rms_norm,
    shape_of,
)
from mnet.export.lowering.tracing import trace

Rewrite = Callable[..., Any]
"""Takes the node of the operation, for the shapes of its arguments, and then what the operation takes."""
aten = torch.ops.aten


def rewritten(
    traced: ExportedProgram,
    inputs: tuple[Tensor, ...],
    table: Mapping[Any, Rewrite],
    chosen: Collection[Node],
    sizes: Sequence[BoundedSize] = (),
) -> ExportedProgram:
    """The same program, with the operations of `chosen` nodes computed as `table` says.

    Raises BundleError where that needs to know a size that varies.
    """
    if not chosen:
        return traced
    module = traced.module(check_guards=False)
    assert isinstance(module, GraphModule)
    names = {node.name for node in chosen}
    try:
        changed = _Rewriting(module, table, names).transform()
    except BundleError as error:  # to which FX adds a traceback of the model
        raise BundleError(str(error).partition("\n")[0]) from None
    return trace(changed, inputs, sizes)


def downstream(traced: ExportedProgram, sources: Collection[str]) -> set[Node]:
    """The nodes that depend on a parameter or an input of these names."""
    parameters = traced.graph_signature.inputs_to_parameters
    found: set[Node] = set()
    for node in traced.graph.nodes:
        named = {node.name, parameters.get(node.name)} if node.op == "placeholder" else set()
        if named & {*sources} or found & set(node.all_input_nodes):
            found.add(node)
    return found


class _Rewriting(Transformer):
    def __init__(self, module: GraphModule, table: Mapping[Any, Rewrite], names: Collection[str]) -> None:
        super().__init__(module)
        self._table, self._names = table, names

    def run_node(self, n: Node) -> Any:
        if n.name not in self._names:
            return super().run_node(n)
        arguments, options = self.fetch_args_kwargs_from_env(n)
        return self._table[n.target](n, *arguments, **options)


def _known(node: Node, shape: Shape) -> Shape:
    if not all(isinstance(size, int) for size in shape):
        raise BundleError(
            f"{node.target} works on sizes that vary; this target takes it at a fixed size only"
        )
    return shape


def _with_zeros(value: Any, shape: Shape, axis: int, step: int) -> tuple[Any, Shape]:
    """`value` with `step - 1` zeros between its elements along `axis`, and the shape of that."""
    if step == 1:
        return value, shape
    apart = value.unsqueeze(axis + 1)
    zeros = torch.zeros((*shape[: axis + 1], step - 1, *shape[axis + 1 :]))
    size = shape[axis] * step
    longer = torch.cat([apart, zeros], axis + 1).reshape(*shape[:axis], size, *shape[axis + 1 :])
    kept = size - step + 1
    return longer.narrow(axis, 0, kept), (*shape[:axis], kept, *shape[axis + 1 :])


def convolution(
    node: Node,
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = (1,),
    groups: int = 1,
) -> Any:
    """A dilated convolution, with the kernel's dilation written out as zeros."""
    shape = _known(node, shape_of(node, 1))
    for axis, step in enumerate(dilation, 2):
        weight, shape = _with_zeros(weight, shape, axis, step)
    convolve = (functional.conv1d, functional.conv2d)[len(shape) - 3]
    return convolve(x, weight, bias, stride, padding, 1, groups)


def transposed_convolution(
    node: Node,
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = (1,),
    padding: Any = (0,),
    output_padding: Any = (0,),
    groups: int = 1,
    dilation: Any = (1,),
) -> Any:
    """A transposed convolution as a plain one, over the input with zeros between its elements."""
    shape, (fan_in, outputs, *kernel) = _known(node, shape_of(node)), shape_of(node, 1)
    rank = len(kernel)
    stride, padding, output_padding, dilation = (
        [*each] * (rank // len(each)) for each in (stride, padding, output_padding, dilation)
    )
    weight = weight.reshape(groups, fan_in // groups, outputs, *kernel).transpose(1, 2)
    weight_shape: Shape = (groups * outputs, fan_in // groups, *kernel)
    weight = weight.reshape(weight_shape).flip(list(range(2, 2 + rank)))
    edges: list[int] = []
    for axis in range(rank):
        x, shape = _with_zeros(x, shape, 2 + axis, stride[axis])
        weight, weight_shape = _with_zeros(weight, weight_shape, 2 + axis, dilation[axis])
        edge = weight_shape[2 + axis] - 1 - padding[axis]
        edges = [edge, edge + output_padding[axis], *edges]
    convolve = (functional.conv1d, functional.conv2d)[rank - 1]
    return convolve(functional.pad(x, edges), weight, bias, 1, 0, 1, groups)


def _filled(number: float | None) -> Rewrite:
    """A tensor of one number, of the shape of another tensor."""

    def fill(node: Node, x: Any, *of: Any, **_: Any) -> Any:
        value, dtype = of[0] if number is None else number, node.meta["val"].dtype
        shape = [
            size if isinstance(size, int) else _call(x, aten.sym_size.int, x, k)
            for k, size in enumerate(shape_of(node))
        ]
        return _call(x, aten.full.default, shape, value, dtype=dtype)

    return fill


def _filled_anew(number: float | None) -> Rewrite:
    """A tensor of one number, of the dtype of another tensor."""

    def fill(node: Node, x: Any, shape: Any, *of: Any, **_: Any) -> Any:
        value = of[0] if number is None else number
        return _call(x, aten.full.default, shape, value, dtype=node.meta["val"].dtype)

    return fill


def _call(x: Any, operation: Any, *arguments: Any, **options: Any) -> Any:
    return x.tracer.create_proxy("call_function", operation, arguments, options)


def _both(node: Node, x: Any, other: Any) -> Any:
    """`&` of two masks. Of integers it stays what it is, which coremltools refuses by name."""
    return (
        torch.logical_and(x, other) if node.meta["val"].dtype == torch.bool else torch.bitwise_and(x, other)
    )


UNKNOWN_TO_COREMLTOOLS: dict[Any, Rewrite] = {
    aten.__and__.Tensor: _both,
    aten.bitwise_and.Tensor: _both,
    aten.zeros_like.default: _filled(0.0),
    aten.ones_like.default: _filled(1.0),
    aten.full_like.default: _filled(None),
    aten.new_zeros.default: _filled_anew(0.0),
    aten.new_ones.default: _filled_anew(1.0),
    aten.new_full.default: _filled_anew(None),
}
"""What coremltools does not know; tensors like another, which it gives that one's dtype, so that masks are inverted."""

AFFINE: dict[Any, Rewrite] = {
    aten.layer_norm.default: layer_norm,
    aten.rms_norm.default: rms_norm,
    aten.group_norm.default: group_norm,
    aten.batch_norm.default: batch_norm,
    aten.instance_norm.default: instance_norm,
    aten.prelu.default: prelu,
}
"""Normalizations with their gain and bias, and PReLU with its slopes, apart."""

CONVOLUTIONS: dict[Any, Rewrite] = {
    aten.conv1d.default: convolution,
    aten.conv2d.default: convolution,
    aten.conv1d.padding: convolution,
    aten.conv2d.padding: convolution,
    aten.conv_transpose1d.default: transposed_convolution,
    aten.conv_transpose2d.input: transposed_convolution,
}
"""Convolutions that are dilated or transposed."""


def takes(node: Node, values: Collection[Node]) -> bool:
    """Whether a parameter of the operation, any argument but the first, is one of `values`."""
    return any(each in values for each in node.all_input_nodes[1:])


def is_dilated_or_transposed(node: Node) -> bool:
    """Whether it is one of `CONVOLUTIONS` that needs to be rewritten."""
    if "transpose" in str(node.target):
        return True
    dilation = node.args[5] if len(node.args) > 5 else (1,)
    return any(step != 1 for step in dilation)  # type: ignore[union-attr]


def for_executorch(
    traced: ExportedProgram,
    inputs: tuple[Tensor, ...],
    generated: Collection[str],
    sizes: Sequence[BoundedSize] = (),
) -> ExportedProgram:
    """The program as ExecuTorch's exporter takes it and leaves the parameters or inputs `generated` in it.

    XNNPACK's passes fail on a PReLU of other than images, and merge a BatchNorm with the convolution before it.
    """
    values = downstream(traced, generated)
    chosen = [
        node
        for node in traced.graph.nodes
        if (node.target == aten.prelu.default and len(shape_of(node)) != 4)
        or (node.target == aten.batch_norm.default and (takes(node, values) or takes(node.args[0], values)))
    ]
    return rewritten(traced, inputs, AFFINE, chosen, sizes)
