"""Golden data: outputs of eager PyTorch that every runtime must reproduce.

`golden.safetensors` holds, for sample k, `input.k.NAME`, `default.k.NAME` (outputs under the default weights)
and `swapped.k.NAME` (under the weights of `golden-weights.safetensors`). `bench/swaps.safetensors` holds
`scale` [N] and `output` [N, *shape of the first output]: the outputs for sample 0 under N further weights,
which anyone can rebuild bit by bit as `default + scale[n] * (golden - default)`. All weights are rounded as the
bundle's packs round them (`mnet.export.format.pack_dtypes`), before eager PyTorch runs them.
"""

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mnet.export.format.slots import place

TOLERANCE = 1e-4
# Where a model computes in fp16: each op rounds to 2^-11 of a number.
HALF_TOLERANCE = 5e-3
# A swap counts only if it changes the output by this many tolerances; else a stale one could pass for it.
LEAST_CHANGE = 100
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
        result = self._model(*inputs)
        outputs = (result,) if isinstance(result, Tensor) else tuple(result)
        return tuple(output.clone() for output in outputs)


def max_abs_error(actual: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """The largest absolute difference of any element; infinite where one of them is not finite."""
    return max(_difference(ours, theirs) for ours, theirs in zip(actual, expected, strict=True))


def agrees(actual: Sequence[Tensor], expected: Sequence[Tensor], tolerance: float) -> bool:
    """Whether no element is off by more than `tolerance * max(1, largest magnitude of its output)`."""
    return all(_agree(ours, theirs, tolerance) for ours, theirs in zip(actual, expected, strict=True))


def least_change(golden: Golden) -> float:
    """By how much the golden weights change the outputs of the sample that they change least."""
    return min(max_abs_error(new, old) for new, old in zip(golden.swapped, golden.default, strict=True))


def swap_weights(
    default: Mapping[str, Tensor], golden: Mapping[str, Tensor], scales: Tensor
) -> Iterator[dict[str, Tensor]]:
    """The weights of each swap of the bench, in order, before a pack rounds them."""
    difference = {name: golden[name] - default[name] for name in default}
    for scale in scales:
        yield {name: default[name] + scale * difference[name] for name in default}


def swap_scales() -> Tensor:
    """The N distinct scales, [N] fp32 in ±[0.5, 1]; signs alternate, so that each swap is a big change."""
    magnitude = torch.linspace(0.5, 1.0, SWAPS)
    return torch.where(torch.arange(SWAPS) % 2 == 0, magnitude, -magnitude)


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


def _agree(actual: Tensor, expected: Tensor, tolerance: float) -> bool:
    allowed = tolerance * max(1.0, expected.abs().max().item())
    # An infinite allowance would pass any weights.
    return math.isfinite(allowed) and _difference(actual, expected) <= allowed


def _difference(actual: Tensor, expected: Tensor) -> float:
    if actual.shape != expected.shape:
        return float("inf")
    largest = (actual - expected).abs().max().item()
    return largest if largest == largest else float("inf")
