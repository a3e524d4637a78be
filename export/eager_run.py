"""What eager PyTorch says of a model before anything is lowered: golden outputs and probes.

Here an export is refused, within seconds, whose self-test would be blind: every generated parameter, moved alone, must
move the probe by far more than the tolerance.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mnet.export.format.errors import BundleError
from mnet.export.format.golden import (
    LEAST_CHANGE,
    Golden,
    Reference,
    output_scales,
    swap_scales,
    swap_weights,
)
from mnet.export.format.manifest import PackDtype, dtype_name
from mnet.export.format.pack_dtypes import rounded
from mnet.export.format.probe import distance, probe
from mnet.export.format.slots import sentinels
from mnet.export.format.tensors import DTYPES
from mnet.export.lowering.spec import ExportSpec
from mnet.export.lowering.tracing import changing_shape

# Golden weights are sentinels of size 1. Those of a parameter whose effect cannot be seen grow, in a few rounds.
_ROUNDS, _LARGEST = 10, 2.0**14
_FIRST = 6
# Outputs that are so many times as large as under the first golden weights: the growth was too much.
_TOO_LARGE = 10.0
# Other random weights may show what a ReLU hid, here of one swap of many.
_ATTEMPTS = 4


@dataclass(frozen=True)
class EagerRun:
    """Golden samples, the scale of each output, and the content of `bench/swaps.safetensors`."""

    golden: Golden
    scales: tuple[float, ...]
    swaps: dict[str, Tensor]


def run_eager(
    spec: ExportSpec, default: Mapping[str, Tensor], pack_dtypes: Mapping[str, PackDtype], tolerance: float
) -> EagerRun:
    """Run `spec` under the `default` weights, golden ones and those of the bench's swaps.

    Raises BundleError for outputs that cannot be shipped, and where a generated parameter moved alone, or a swap,
    changes the outputs by less than `LEAST_CHANGE` tolerances.
    """
    reference = Reference(spec.model)
    buffers = reference.buffers()
    steps = swap_scales()
    for _ in range(_ATTEMPTS):
        golden, scales, alone = _visible(spec, reference, default, pack_dtypes, tolerance)
        probes = []
        for weights in swap_weights(default, golden.weights, steps):
            outputs = reference.outputs(rounded(weights, pack_dtypes), spec.inputs[0])
            _check_shapes(spec, [golden.default[0], outputs])
            probes.append(probe(outputs, scales))
        whole = {"default": probe(golden.default[0], scales), "golden": probe(golden.swapped[0], scales)}
        change = min(
            distance(new, old)
            for old, new in itertools.pairwise([whole["default"], whole["golden"], *probes])
        )
        if change >= LEAST_CHANGE * tolerance:
            break
    else:
        raise BundleError(f"a swap changes the outputs by only {change:.1e} of their size: {_UNSEEN}")
    for name, buffer in reference.buffers().items():
        if not torch.equal(buffer, buffers[name]):  # some exporters drop that, and no error says so
            raise BundleError(
                f"model {spec.name} writes into its buffer {name}; take such a state as an input and return it "
                "as an output"
            )
    stored = {**whole, "alone": alone, "probe": probes}
    tensors = {name: torch.tensor(values, dtype=torch.float64) for name, values in stored.items()}
    return EagerRun(golden, scales, {"scale": steps, **tensors})


_UNSEEN = (
    "the self-test on a device would let stale weights pass. Use a first example whose outputs depend on it, "
    "return the output that does, or do not generate it"
)


def _visible(
    spec: ExportSpec,
    reference: Reference,
    default: Mapping[str, Tensor],
    pack_dtypes: Mapping[str, PackDtype],
    tolerance: float,
) -> tuple[Golden, tuple[float, ...], list[list[float]]]:
    """Golden samples, their scales, and for each parameter the probe where it alone has its default value."""
    sizes = dict.fromkeys(default, 1.0)
    first: tuple[float, ...] = ()
    grown: dict[str, float] = {}
    for _ in range(_ROUNDS):
        unit = sentinels(default)
        weights = rounded({name: sizes[name] * value for name, value in unit.items()}, pack_dtypes)
        golden = Golden(
            inputs=spec.inputs,
            default=tuple(reference.outputs(default, inputs) for inputs in spec.inputs),
            swapped=tuple(reference.outputs(weights, inputs) for inputs in spec.inputs),
            weights=weights,
        )
        _check_outputs(spec, golden)
        scales = output_scales(golden)
        first = first or scales
        whole = probe(golden.swapped[0], scales)
        alone = {
            name: probe(reference.outputs(weights | {name: value}, spec.inputs[0]), scales)
            for name, value in default.items()
        }
        changes = {name: distance(values, whole) for name, values in alone.items()}
        # Twice what is demanded, for a runtime and its packs round.
        faint = [name for name, change in changes.items() if not change >= 2 * LEAST_CHANGE * tolerance]
        if (
            not faint
            and _least_step(spec, reference, default, golden, scales, pack_dtypes)
            < 2 * LEAST_CHANGE * tolerance
        ):
            faint = list(default)
        if not faint:
            break
        if grown and any(now > _TOO_LARGE * then for now, then in zip(scales, first, strict=True)):
            # Layers one behind the other multiply: all together were to grow by what each of them did.
            for name, factor in grown.items():
                sizes[name] *= factor ** (1 / len(grown) - 1)
            grown = {}
            continue
        needed = 3 * LEAST_CHANGE * tolerance
        # The effect is about proportional to the size while it is small.
        grown = {name: min(64.0, max(2.0, needed / max(changes[name], 1e-9))) for name in faint}
        for name, factor in grown.items():
            sizes[name] = min(_LARGEST, factor * sizes[name])
    for name, change in changes.items():
        if not change >= LEAST_CHANGE * tolerance:
            raise BundleError(
                f"generated parameter {name}, moved alone, changes the outputs by only {change:.1e} of their size, "
                f"which is not {LEAST_CHANGE} times the tolerance of {tolerance:g}: {_UNSEEN}"
            )
    return golden, scales, list(alone.values())


def _least_step(
    spec: ExportSpec,
    reference: Reference,
    default: Mapping[str, Tensor],
    golden: Golden,
    scales: tuple[float, ...],
    pack_dtypes: Mapping[str, PackDtype],
) -> float:
    """By how much the first few swaps of the bench change the probe."""
    some = swap_weights(default, golden.weights, swap_scales()[:_FIRST])
    probes = [probe(reference.outputs(rounded(new, pack_dtypes), spec.inputs[0]), scales) for new in some]
    steps = itertools.pairwise([probe(golden.swapped[0], scales), *probes])
    return min(distance(new, old) for old, new in steps)


def _check_outputs(spec: ExportSpec, golden: Golden) -> None:
    for outputs in (*golden.default, *golden.swapped):
        if len(outputs) != len(spec.output_names):
            raise BundleError(
                f"model {spec.name} has {len(outputs)} outputs for the names {spec.output_names}"
            )
        for name, output in zip(spec.output_names, outputs, strict=True):
            if dtype_name(output.dtype) not in DTYPES:
                raise BundleError(f"output {name} is {output.dtype}; it must be one of {', '.join(DTYPES)}")
            if not torch.isfinite(output).all():
                raise BundleError(f"output {name} is not finite for an example input")
    # With sizes that vary, the last two samples have others.
    alike = len(golden.inputs) - (2 if spec.sizes else 0)
    _check_shapes(spec, [*golden.default[:alike], *golden.swapped[:alike]])
    for pair in zip(golden.default, golden.swapped, strict=True):
        _check_shapes(spec, pair)


def _check_shapes(spec: ExportSpec, variants: Sequence[Sequence[Tensor]]) -> None:
    for name, *outputs in zip(spec.output_names, *variants, strict=True):
        if len({output.shape for output in outputs}) > 1:
            raise BundleError(changing_shape(f"output {name}"))
