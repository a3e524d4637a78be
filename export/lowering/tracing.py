"""What every exporter starts with: the device model as a traced graph, and its errors in one line."""

import contextlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx.experimental.symbolic_shapes import free_unbacked_symbols
from torch.nn import functional

from mnet.export.format.errors import BundleError
from mnet.export.lowering.dynamic import BoundedSize, dynamic_shapes, to_trace
from mnet.export.lowering.quiet import quiet
from mnet.export.lowering.spec import ExportSpec


@contextlib.contextmanager
def exporter_step(name: str) -> Iterator[None]:
    """Run quietly, and turn an exporter's error into a BundleError."""
    try:
        with quiet():
            yield
    except BundleError:
        raise
    except Exception as error:
        raise BundleError(
            f"{name} fails on this model: {_innermost(error)} (write that part with other operations, or try "
            "another target)"
        ) from error


def _innermost(error: BaseException) -> str:
    """The first line of the error that the others were raised from, and the node of the graph if one says it."""
    said = [str(error)]
    while error.__cause__ is not None:
        error = error.__cause__
        said.append(str(error))
    (reason, *_) = str(error).strip().splitlines() or [type(error).__name__]
    node = next(
        filter(None, (re.search(r"While executing (%\w+)[^\n]*target=([\w.:]+)", text) for text in said)),
        None,
    )
    return reason if node is None else f"{reason}, at {node[1]} = {node[2]}"


def _fixed_by_the_model(sizes: Sequence[BoundedSize], fixed: str | None) -> str:
    names = ", ".join(size.name for size in sizes)
    return (
        f"{names} cannot vary: the model "
        + (f"fixes a size to {fixed}" if fixed else "takes some sizes only")
        + ", as a "
        "recurrent layer does, which is unrolled, a position table that is added whole, a reshape to written numbers, "
        "or the last rows of a table by a slice: write table.narrow(0, len(table) - length, length)"
    )


def changing_shape(name: str) -> str:
    """The message for a model in which the shape of `name` is not always the same."""
    return (
        f"the shape of {name} depends on the values of the inputs; the runtimes take fixed shapes: mask what is "
        "not wanted instead of selecting the rest"
    )


@exporter_step("torch.export")
def trace(model: nn.Module, inputs: tuple[Tensor, ...], sizes: Sequence[BoundedSize] = ()) -> ExportedProgram:
    """`torch.export.export`, with the `sizes` that vary.

    Raises BundleError where it fails, where the model takes one size only, or where a shape depends on values.
    """
    inputs = to_trace(inputs, sizes)
    try:
        traced = torch.export.export(model, inputs, dynamic_shapes=dynamic_shapes(model, inputs, sizes))
    except Exception as error:
        if found := re.search(
            r"- .*?(specialized it to be a constant \((\d+)\)|range .*|guard .*)", str(error)
        ):
            raise BundleError(_fixed_by_the_model(sizes, found[2])) from error
        raise
    if any(node.target == torch.ops.aten.bilinear.default for node in traced.graph.nodes):
        traced = traced.run_decompositions({torch.ops.aten.bilinear.default: _bilinear})
    _drop_whole_slices(traced)
    for node in traced.graph.nodes:
        shape = getattr(node.meta.get("val"), "shape", ())
        if any(free_unbacked_symbols(size) for size in shape):
            raise BundleError(changing_shape(node.name))
    return traced


_SLICES = (torch.ops.aten.slice.Tensor, torch.ops.aten.narrow.default, torch.ops.aten.alias.default)


def _drop_whole_slices(traced: ExportedProgram) -> None:
    """Take out slices of all that there is, as of a mask by the length of an input that is fixed.

    coremltools refuses such aliases, and ExecuTorch copies them.
    """
    for node in list(traced.graph.nodes):
        if node.target not in _SLICES:
            continue
        whole, part = node.args[0], node.meta["val"].shape
        returned = any(user.op == "output" for user in node.users)
        if not returned and all(type(size) is int for size in part) and part == whole.meta["val"].shape:
            node.replace_all_uses_with(whole)
            traced.graph.erase_node(node)
    traced.graph_module.recompile()


def _bilinear(first: Tensor, second: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`functional.bilinear` in operations that exporters know: a Linear of the outer product."""
    outer = (first.unsqueeze(-1) * second.unsqueeze(-2)).flatten(-2)
    return functional.linear(outer, weight.flatten(1), bias)


def refuse_unused(traced: ExportedProgram, generated: Sequence[str]) -> None:
    """Raise BundleError if the model never reads one of its generated parameters."""
    parameters = traced.graph_signature.inputs_to_parameters
    used = {
        parameters.get(node.name) for node in traced.graph.nodes if node.op == "placeholder" and node.users
    }
    if unused := [name for name in generated if name not in used]:
        raise BundleError(f"generated parameter {unused[0]} has 0 slots, not 1: the model does not use it")


class GeneratedAsInputs(nn.Module):
    """The device model with its generated parameters as inputs after its own; a single number may have a dimension."""

    def __init__(self, model: nn.Module, spec: ExportSpec) -> None:
        super().__init__()
        self.model = model
        self.names = spec.generated
        self.own = len(spec.input_names)
        self.numbers = {name for name in spec.generated if model.get_parameter(name).dim() == 0}

    def forward(self, *inputs: Tensor) -> Any:
        given = zip(self.names, inputs[self.own :], strict=True)
        weights = {name: each.reshape(()) if name in self.numbers else each for name, each in given}
        return torch.func.functional_call(self.model, weights, inputs[: self.own])
