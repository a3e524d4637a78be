"""How new weights reach a program, where a target leaves a choice, and what a layer is for that choice."""

from torch import nn

from mnet.export.format.errors import BundleError
from mnet.export.lowering.spec import ExportSpec
from mnet.export.lowering.target import Choice, Target


def choose_binding(spec: ExportSpec, name: str, target: Target) -> Choice:
    """What `spec` asks for or, where it leaves that open, what the target picks; BundleError if there is no such."""
    if spec.binding is not None and spec.binding not in target.bindings:
        offered = f"one of {', '.join(target.bindings)}" if target.bindings else "no choice of it"
        raise BundleError(f"target {name} has no binding {spec.binding!r}, it offers {offered}")
    if not target.bindings:
        return Choice(None, "")
    if spec.binding is not None:
        return Choice(spec.binding, f"weights by {spec.binding}, as asked for")
    return target.choose(spec) if target.choose else Choice(target.bindings[0], "")


def is_pointwise(layer: nn.Module) -> bool:
    """Whether a layer is a 1x1 convolution that is the same Linear at each pixel."""
    return (
        isinstance(layer, nn.Conv2d)
        and layer.kernel_size == layer.stride == layer.dilation == (1, 1)
        and layer.padding in ((0, 0), "valid", "same")
        and layer.groups == 1
    )


def owner(model: nn.Module, parameter: str) -> nn.Module:
    """The layer that a parameter belongs to."""
    return model.get_submodule(parameter.rpartition(".")[0])
