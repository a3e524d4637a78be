"""How new weights reach a program, where a target leaves a choice."""

from dataclasses import dataclass

from torch import nn

from export.errors import BundleError
from export.spec import ExportSpec
from export.targets import find_target

# XNNPACK packs weights that are inputs anew at each inference: nothing at 100 KB, threefold time at 4 MB.
LARGEST_INPUT = 256 * 1024


@dataclass(frozen=True)
class Choice:
    """One of the target's bindings, and why it was taken, for people."""

    binding: str | None
    why: str


def choose_binding(spec: ExportSpec, target: str) -> Choice:
    """What `spec` asks for or, where it leaves that open, what costs least; BundleError if there is no such."""
    choices = find_target(target).bindings
    if spec.binding is not None and spec.binding not in choices:
        offered = f"one of {', '.join(choices)}" if choices else "no choice of it"
        raise BundleError(f"target {target} has no binding {spec.binding!r}, it offers {offered}")
    if not choices:
        return Choice(None, "")
    if spec.binding is not None:
        return Choice(spec.binding, f"weights by {spec.binding}, as asked for")
    return _cheapest_on_android(spec) if target == "android" else Choice(choices[0], "")


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


def _cheapest_on_android(spec: ExportSpec) -> Choice:
    """Inputs for small layers that XNNPACK takes as inputs, bytes of the file for all others.

    An input costs no swap at all, but its packing at each inference. Bytes cost nothing at inference; a swap
    loads the model again.
    """
    for name in spec.generated:
        layer = owner(spec.model, name)
        if not isinstance(layer, nn.Linear) and not is_pointwise(layer):
            kind = type(layer).__name__
            return Choice("bytes", f"weights by bytes: XNNPACK takes no {kind} as an input ({name})")
    size = sum(spec.model.get_parameter(name).nbytes for name in spec.generated)
    if size > LARGEST_INPUT:
        return Choice(
            "bytes",
            f"weights by bytes: {size:,} as inputs would be packed at each inference",
        )
    return Choice("input", f"weights by input: {size:,} bytes are packed quickly at each inference")
