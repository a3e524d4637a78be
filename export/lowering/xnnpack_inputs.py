"""By which of its two ways target `android` takes new weights: named inputs, or bytes of the file."""

from collections.abc import Sequence
from typing import Any

from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from mnet.export.format.golden import Reference
from mnet.export.lowering.bindings import is_pointwise, owner
from mnet.export.lowering.spec import ExportSpec
from mnet.export.lowering.target import Choice

# XNNPACK packs weights that are inputs again at each inference. The cost of that next to the inference, in µs, as
# `mnet growth --on native` found it on x86-64; another processor has other times, but much the same ratios.
_LAYER_US, _WEIGHT_US = 0.2, 0.14e-3
_OPERATION_US, _MULTIPLY_ADD_US = 0.4, 0.04e-3
# What an inference may take longer: this share of it, or so little that nobody will find it.
LARGEST_SHARE, UNNOTICED_US = 0.05, 0.5


def cheapest_binding(spec: ExportSpec) -> Choice:
    """Inputs for layers that XNNPACK takes as inputs and packs quickly, bytes of the file for all others.

    An input costs no swap at all, but its packing at each inference. Bytes cost nothing at inference; a swap
    loads the model again.
    """
    for name in spec.generated:
        layer = owner(spec.model, name)
        if not isinstance(layer, nn.Linear) and not is_pointwise(layer):
            kind = type(layer).__name__
            return Choice("bytes", f"weights by bytes: XNNPACK takes no {kind} as an input ({name})")
    packing, inference = packing_us(spec), inference_us(spec)
    cost = f"{packing:.1f} µs to an inference of about {inference:.0f} µs"
    if packing > max(UNNOTICED_US, LARGEST_SHARE * inference):
        return Choice("bytes", f"weights by bytes: packing them as inputs would add {cost}")
    return Choice("input", f"weights by input: packing them adds {cost}")


def packing_us(spec: ExportSpec) -> float:
    """About how long XNNPACK packs the generated Linears at each inference, where they are inputs; µs."""
    layers = {owner(spec.model, name) for name in spec.generated}
    weights = sum(spec.model.get_parameter(name).numel() for name in spec.generated)
    return _LAYER_US * len(layers) + _WEIGHT_US * weights


def inference_us(spec: ExportSpec) -> float:
    """About how long an inference takes, by its operations and their multiply-adds; µs, rather too little."""
    reference = Reference(spec.model)
    with FlopCounterMode(display=False) as flops, _Operations() as operations:
        reference.outputs({}, spec.inputs[0])
    return _OPERATION_US * operations.count + _MULTIPLY_ADD_US * flops.get_total_flops() / 2


class _Operations(TorchDispatchMode):
    """Counts what PyTorch computes; views are free."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        self.count += not func.is_view
        return func(*args, **(kwargs or {}))
