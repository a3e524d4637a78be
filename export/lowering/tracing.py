"""What every exporter starts with: the device model as a traced graph, and its errors in one line."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from mnet.export.format.errors import BundleError
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
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise BundleError(
            f"{name} fails on this model: {reason[0]} (write that part with other operations, or try another target)"
        ) from error


def changing_shape(name: str) -> str:
    """What to tell whoever exports a model in which the shape of `name` is not always the same."""
    return (
        f"the shape of {name} depends on the values of the inputs; the runtimes take fixed shapes: mask what is "
        "not wanted instead of selecting the rest"
    )


@exporter_step("torch.export")
def trace(model: nn.Module, inputs: tuple[Tensor, ...]) -> ExportedProgram:
    """`torch.export.export`; BundleError where it fails, or where a shape depends on values."""
    traced = torch.export.export(model, inputs)
    for node in traced.graph.nodes:
        shape = getattr(node.meta.get("val"), "shape", ())
        if not all(isinstance(size, int) for size in shape):
            raise BundleError(changing_shape(node.name))
    return traced


def refuse_unused(traced: ExportedProgram, generated: Sequence[str]) -> None:
    """Raise BundleError if the model never reads one of its generated parameters."""
    parameters = traced.graph_signature.inputs_to_parameters
    used = {
        parameters.get(node.name) for node in traced.graph.nodes if node.op == "placeholder" and node.users
    }
    if unused := [name for name in generated if name not in used]:
        raise BundleError(f"generated parameter {unused[0]} has 0 slots, not 1: the model does not use it")


class GeneratedAsInputs(nn.Module):
    """The device model with its generated parameters as inputs after its own."""

    def __init__(self, model: nn.Module, spec: ExportSpec) -> None:
        super().__init__()
        self.model = model
        self.names = spec.generated
        self.own = len(spec.input_names)

    def forward(self, *inputs: Tensor) -> Any:
        weights = dict(zip(self.names, inputs[self.own :], strict=True))
        return torch.func.functional_call(self.model, weights, inputs[: self.own])
