"""Golden data: outputs of eager PyTorch that every runtime must reproduce.

`golden.safetensors` holds, for sample k, `input.k.NAME`, `default.k.NAME` (outputs under the default weights)
and `swapped.k.NAME` (under the weights of `golden-weights.safetensors`). `bench/swaps.safetensors` holds probes
(`mnet.export.format.probe`) in fp64: `default` [16]; `golden` [16]; `alone` [slots, 16], under the golden weights but
for one slot, which has its default; and `probe` [N, 16] with `scale` fp32 [N], under N further weights, which anyone
can rebuild bit by bit as `default + scale[n] * (golden - default)`. All weights are rounded as the bundle's packs round
them (`mnet.export.format.pack_dtypes`), before eager PyTorch runs them.
"""

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from mnet.export.format.slots import place

TOLERANCE = 1e-4
# Where a model computes in fp16: each op rounds to 2^-11 of a number.
HALF_TOLERANCE = 5e-3
# Every generated parameter alone must move the probe by this many tolerances; else a stale one could pass for it.
LEAST_CHANGE = 10
SWAPS = 200


@dataclass(frozen=True)
class Golden:
    """Samples: `inputs[k]` gives `default[k]` under the default weights and `swapped[k]` under `weights`."""

    inputs: tuple[tuple[Tensor, ...], ...]
    default: tuple[tuple[Tensor, ...], ...]
    swapped: tuple[tuple[Tensor, ...], ...]
    weights: dict[str, Tensor]


class Reference:
    """Eager PyTorch running a copy of the device model under any weights: what "right" means."""

    def __init__(self, model: nn.Module) -> None:
        self._model = copy.deepcopy(model).cpu().eval()

    def buffers(self) -> dict[str, Tensor]:
        """A copy of the model's buffers as they are now."""
        return {name: buffer.clone() for name, buffer in self._model.named_buffers()}

    @torch.no_grad()
    def outputs(self, weights: Mapping[str, Tensor], inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The model's outputs under `weights`."""
        place(self._model, weights)
        return tuple(output.clone() for output in flattened(self._model(*inputs)))


def flattened(result: Any) -> list[Tensor]:
    """The tensors of what a model returned, be it a tensor, a tuple, a dict or a `ModelOutput`; None is left out."""
    return [leaf for leaf in tree_leaves(result) if leaf is not None]


def output_scales(golden: Golden) -> tuple[float, ...]:
    """The root mean square of each output over all golden samples, 1 where all values are zero."""
    outputs = zip(*golden.default, *golden.swapped, strict=True)
    squares = (torch.cat([each.flatten().double() for each in one]).square().mean().sqrt() for one in outputs)
    return tuple(square.item() or 1.0 for square in squares)


def relative_error(actual: Sequence[Tensor], expected: Sequence[Tensor], scales: Sequence[float]) -> float:
    """The largest difference of any element, relative to its output: to the larger of its scale and its largest
    magnitude expected. Infinite for what is not finite, for another shape, and for an integer or bool that differs.
    """
    return max(_relative_error(*each) for each in zip(actual, expected, scales, strict=True))


def max_abs_error(actual: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """The largest absolute difference of any element; infinite where one of them is not finite."""
    return max(_difference(ours, theirs) for ours, theirs in zip(actual, expected, strict=True))


def swap_weights(
    default: Mapping[str, Tensor], golden: Mapping[str, Tensor], scales: Tensor
) -> Iterator[dict[str, Tensor]]:
    """The weights of each swap of the bench, in order, before a pack rounds them."""
    difference = {name: golden[name] - default[name] for name in default}
    for scale in scales:
        yield {name: default[name] + scale * difference[name] for name in default}


def swap_scales() -> Tensor:
    """The N distinct scales fp32 [N], in turn from [0.75, 1] and [-0.5, -0.25]: each swap is a big change, also of
    a product of two parameters, such as the factors of a LoRA.
    """
    spread = torch.linspace(0.0, 0.25, SWAPS)
    return torch.where(torch.arange(SWAPS) % 2 == 0, 0.75 + spread, -0.5 + spread)


def golden_tensors(
    golden: Golden, input_names: Sequence[str], output_names: Sequence[str]
) -> dict[str, Tensor]:
    """The content of `golden.safetensors`."""
    groups = (("input", input_names, golden.inputs), ("default", output_names, golden.default))
    return {
        f"{kind}.{k}.{name}": tensor.contiguous()
        for kind, names, samples in (*groups, ("swapped", output_names, golden.swapped))
        for k, sample in enumerate(samples)
        for name, tensor in zip(names, sample, strict=True)
    }


def golden_from_tensors(
    tensors: Mapping[str, Tensor],
    weights: dict[str, Tensor],
    count: int,
    input_names: Sequence[str],
    output_names: Sequence[str],
) -> Golden:
    """Read back what `golden_tensors` wrote; KeyError if a tensor is missing."""

    def samples(kind: str, names: Sequence[str]) -> tuple[tuple[Tensor, ...], ...]:
        return tuple(tuple(tensors[f"{kind}.{k}.{name}"] for name in names) for k in range(count))

    return Golden(
        samples("input", input_names),
        samples("default", output_names),
        samples("swapped", output_names),
        weights,
    )


def _relative_error(actual: Tensor, expected: Tensor, scale: float) -> float:
    if actual.dtype != expected.dtype:
        return math.inf
    if not expected.is_floating_point():
        return 0.0 if torch.equal(actual, expected) else math.inf
    error = _difference(actual, expected) / max(scale, expected.abs().max().item())
    return error if math.isfinite(error) else math.inf


def _difference(actual: Tensor, expected: Tensor) -> float:
    if actual.shape != expected.shape:
        return math.inf
    largest = (actual.double() - expected.double()).abs().max().item()
    return largest if math.isfinite(largest) else math.inf
