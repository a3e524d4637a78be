"""What eager PyTorch says of a model before anything is lowered: golden outputs and probes.

Here an export is refused, within seconds, whose self-test would be blind: every generated parameter, moved alone, must
move the probe by far more than the tolerance.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
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

# A change that is aimed at: more than is demanded, for a runtime and its packs round.
_AIM = 2 * LEAST_CHANGE
# Golden weights are sentinels of size 1; sizes that show every parameter are sought by so many steps, for each of some
# draws of random weights: others may show what a ReLU hid, or what two of one sign saturate.
_STEPS, _DRAWS = 12, 4
_FASTEST, _LARGEST = 64.0, 2.0**14
_FIRST = 6
# Outputs that are so many times as large as under the first golden weights: the growth was too much.
_TOO_LARGE = 10.0


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
    for draw in range(_DRAWS):
        seen = _Search(spec, reference, default, pack_dtypes, tolerance, draw).best()
        faint = seen.faintest
        change = seen.changes[faint]
        if change < LEAST_CHANGE * tolerance:
            refusal = (
                f"generated parameter {faint}, moved alone, changes the outputs by only {change:.1e} of their size, "
                f"which is not {LEAST_CHANGE} times the tolerance of {tolerance:g}: {_UNSEEN}"
            )
            continue
        golden, scales = seen.golden, seen.scales
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
        refusal = f"a swap changes the outputs by only {change:.1e} of their size: {_UNSEEN}"
    else:
        raise BundleError(refusal)
    for name, buffer in reference.buffers().items():
        if not torch.equal(buffer, buffers[name]):  # some exporters drop that, and no error says so
            raise BundleError(
                f"model {spec.name} writes into its buffer {name}; take such a state as an input and return it "
                "as an output"
            )
    stored = {**whole, "alone": list(seen.alone.values()), "probe": probes}
    tensors = {name: torch.tensor(values, dtype=torch.float64) for name, values in stored.items()}
    return EagerRun(golden, scales, {"scale": steps, **tensors})


_UNSEEN = (
    "the self-test on a device would let stale weights pass. Use a first example whose outputs depend on it, "
    "return the output that does, or do not generate it"
)


@dataclass(frozen=True)
class _Seen:
    """What golden weights of these sizes show: probes where one parameter has its default, and what that changes."""

    sizes: dict[str, float]
    golden: Golden
    scales: tuple[float, ...]
    alone: dict[str, list[float]]
    changes: dict[str, float]
    step: float
    score: float

    @property
    def faintest(self) -> str:
        return min(self.changes, key=self.changes.__getitem__)


@dataclass
class _Search:
    """The search for sizes of golden weights under which each parameter, moved alone, can be seen.

    A parameter that is too faint grows. Where that hides others, as a sigmoid does that saturates, or makes the outputs
    too large, as layers do that multiply, something smaller is tried, in turn; what shows more is kept.
    """

    spec: ExportSpec
    reference: Reference
    default: Mapping[str, Tensor]
    pack_dtypes: Mapping[str, PackDtype]
    tolerance: float
    draw: int

    def __post_init__(self) -> None:
        self._unit = sentinels(self.default, draw=self.draw)
        self._outputs = tuple(self.reference.outputs(self.default, inputs) for inputs in self.spec.inputs)
        self._aim = _AIM * self.tolerance
        self._largest: list[float] = []

    def best(self) -> _Seen:
        """The sizes of the highest score that were found, those of score 0 as soon as there are any."""
        best = self._look(dict.fromkeys(self.default, 1.0))
        assert best is not None, "the first look raises rather than find outputs too large"
        moves, left = self._moves(best), _STEPS
        while best.score < 0 and left and (sizes := next(moves, None)):
            left -= 1
            found = self._look(sizes)
            if found and found.score > best.score:
                best, moves = found, self._moves(found)
        return best

    def _moves(self, seen: _Seen) -> Iterator[dict[str, float]]:
        """Sizes to try after `seen`, the boldest first."""
        faint = [name for name, change in seen.changes.items() if change < self._aim] or list(self.default)
        clear = [name for name in self.default if name not in faint]
        # The effect is about proportional to the size while it is small.
        lacks = {name: 1.5 * self._aim / max(seen.changes[name], 1e-9) for name in faint}
        factors = {name: min(_FASTEST, max(2.0, lack)) for name, lack in lacks.items()}
        yield _scaled(seen.sizes, factors)
        # Layers one behind the other multiply: all together may grow by what each of them lacks.
        yield _scaled(seen.sizes, {name: factor ** (1 / len(faint)) for name, factor in factors.items()})
        yield _scaled(seen.sizes, dict.fromkeys(clear, 0.5))
        yield _scaled(seen.sizes, dict.fromkeys(self.default, 0.5))
        yield _scaled(seen.sizes, {seen.faintest: 2.0})
        yield _scaled(seen.sizes, {seen.faintest: 0.5})

    def _look(self, sizes: dict[str, float]) -> _Seen | None:
        """What golden weights of these sizes show, None where outputs are too large. Raises BundleError for outputs
        that cannot be shipped at the first look.
        """
        drawn = {name: sizes[name] * value for name, value in self._unit.items()}
        weights = rounded(drawn, self.pack_dtypes)
        golden = Golden(
            inputs=self.spec.inputs,
            default=self._outputs,
            swapped=tuple(self.reference.outputs(weights, inputs) for inputs in self.spec.inputs),
            weights=weights,
        )
        first = not self._largest
        if not first and not all(output.isfinite().all() for sample in golden.swapped for output in sample):
            return None
        _check_outputs(self.spec, golden)
        scales = output_scales(golden)
        self._largest = self._largest or [_TOO_LARGE * scale for scale in scales]
        if any(scale > largest for scale, largest in zip(scales, self._largest, strict=True)):
            return None
        whole = probe(golden.swapped[0], scales)
        alone = {
            name: probe(self.reference.outputs(weights | {name: value}, self.spec.inputs[0]), scales)
            for name, value in self.default.items()
        }
        changes = {name: distance(values, whole) for name, values in alone.items()}
        if not first and math.inf in changes.values():
            return None
        step = self._least_step(golden, scales)
        score = sum(math.log(min(1.0, max(1e-9, change / self._aim))) for change in (*changes.values(), step))
        return _Seen(sizes, golden, scales, alone, changes, step, score)

    def _least_step(self, golden: Golden, scales: tuple[float, ...]) -> float:
        """By how much the first few swaps of the bench change the probe."""
        some = swap_weights(self.default, golden.weights, swap_scales()[:_FIRST])
        probes = [
            probe(self.reference.outputs(rounded(new, self.pack_dtypes), self.spec.inputs[0]), scales)
            for new in some
        ]
        steps = itertools.pairwise([probe(golden.swapped[0], scales), *probes])
        return min(distance(new, old) for old, new in steps)


def _scaled(sizes: Mapping[str, float], factors: Mapping[str, float]) -> dict[str, float]:
    return {name: min(_LARGEST, factors.get(name, 1.0) * size) for name, size in sizes.items()}


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
