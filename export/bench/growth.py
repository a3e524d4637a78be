"""How the cost of swapping grows: made-up models along one axis at a time, exported and timed like any other."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mnet.export.exporter import export_bundle
from mnet.export.format.bundle import Bundle
from mnet.export.format.errors import BundleError
from mnet.export.lowering.bindings import choose_binding
from mnet.export.lowering.spec import ExportSpec
from mnet.export.lowering.xnnpack_inputs import LARGEST_SHARE, UNNOTICED_US
from mnet.export.targets import find_target

KB, MB = 1024, 1024 * 1024
RATIO = 1 + LARGEST_SHARE
_ITEMS, _WIDTH = 256, 64

Measure = Callable[[Bundle], Mapping[str, Any]]
"""Times a bundle and returns what `Bench.report` does."""


@dataclass(frozen=True)
class Shape:
    """One made-up model: bytes of its generated layer and of what lies before it, both fp32; history length; batch."""

    generated: int = 64 * KB
    base: int = 64 * KB
    history: int = 10
    batch: int = 1


# Along each axis the rest is as in `Shape()`.
AXES: dict[str, Sequence[int]] = {
    "generated": (KB, 4 * KB, 16 * KB, 64 * KB, 256 * KB, MB, 4 * MB, 16 * MB),
    "base": (64 * KB, MB, 4 * MB, 16 * MB),
    "history": (10, 50, 200, 800),
    "batch": (1, 4, 16, 64),
}


def shapes(axis: str) -> list[Shape]:
    """The models along an axis, the smallest first."""
    return [replace(Shape(), **{axis: value}) for value in AXES[axis]]


class MadeUp(nn.Module):
    """History of items [B, L] -> a Linear at each step -> mean -> the base -> the generated layer -> scores [B, 64]."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width = round((shape.generated / 4) ** 0.5)
        hidden = max(8, shape.base // 4 // (_WIDTH + width))
        self.items = nn.Embedding(_ITEMS, _WIDTH)
        self.step = nn.Linear(_WIDTH, _WIDTH)
        self.base = nn.Sequential(nn.Linear(_WIDTH, hidden), nn.ReLU(), nn.Linear(hidden, width), nn.ReLU())
        self.head = nn.Linear(width, width)
        self.scores = nn.Linear(width, _WIDTH)
        # Plainly changed by a swap, or the exporter would look for larger golden weights: slow at 16 MB.
        nn.init.normal_(self.scores.weight)

    def forward(self, history: Tensor) -> Tensor:
        taken = torch.relu(self.step(self.items(history))).mean(1)
        return self.scores(torch.relu(self.head(self.base(taken))))


def sweep_spec(shape: Shape, binding: str | None = None) -> ExportSpec:
    """The model of a shape with random weights, ready to be exported."""
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = MadeUp(shape).eval()
    inputs = tuple(
        (torch.randint(0, _ITEMS, (shape.batch, shape.history), generator=generator),) for _ in range(3)
    )
    names = ("head.weight", "head.bias"), inputs, ("history",), ("scores",)
    return ExportSpec("made up", model, *names, binding=binding)


@dataclass(frozen=True)
class Point:
    """One model of the sweep, and the way in which its weights are bound where the target leaves a choice."""

    axis: str
    value: int
    binding: str | None

    @property
    def spec(self) -> ExportSpec:
        """Its model."""
        return sweep_spec(replace(Shape(), **{self.axis: self.value}), self.binding)

    def __str__(self) -> str:
        return " ".join(filter(None, (self.axis, label(self.axis, self.value), self.binding)))


def sweep(target: str) -> list[Point]:
    """Every point of the sweep for a target, with each of its bindings; BundleError for one that does not run here."""
    known = find_target(target)
    if not known.runs_here:
        raise BundleError(f"target {target} does not run here ({known.runtime}): there is nothing to time")
    bindings = known.bindings or (None,)
    return [
        Point(axis, value, each) for axis, values in AXES.items() for value in values for each in bindings
    ]


def measure_point(point: Point, target: str, measure: Measure) -> dict[str, Any]:
    """Export the point's model into a folder that goes again, and time it; the row of `growth.json`, times in µs."""
    with tempfile.TemporaryDirectory() as folder:
        bundle = export_bundle(point.spec, target, Path(folder) / "bundle")
        report = measure(bundle)
    inference, swap = report["inference"], report["swap"]
    row = {
        "axis": point.axis,
        "value": point.value,
        "binding": point.binding,
        "generated_bytes": report["generated_bytes"],
        "program_bytes": report["program_bytes"],
        "baked_p50_us": inference["baked_p50_us"],
        "ratio_p50": inference["ratio_p50"],
        "control_ratio_p50": inference["control_ratio_p50"],
        "swap_p50_us": swap["p50_us"],
        "write_p50_us": swap["parts"]["write_p50_us"],
    }
    if (known := find_target(target)).choose:
        rule = choose_binding(replace(point.spec, binding=None), target, known)
        row |= {"rule": rule.binding, "why": rule.why}
    return row


def curves(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str | None, list[Mapping[str, Any]]]]:
    """The points by axis, then by binding, in order."""
    found: dict[str, dict[str | None, list[Mapping[str, Any]]]] = {}
    for row in rows:
        found.setdefault(row["axis"], {}).setdefault(row["binding"], []).append(row)
    return found


def knees(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For each axis and binding: its values in order, and those at which a cost is above its limit.

    `ratio`: swappable ÷ constant above `RATIO`. `write`: putting new weights in place takes longer than an
    inference. A whole swap always does: its self-test is an inference.
    """
    return [
        {
            "axis": axis,
            "binding": binding,
            "values": [row["value"] for row in curve],
            "ratio": [row["value"] for row in curve if row["ratio_p50"] > RATIO],
            "write": [row["value"] for row in curve if row["write_p50_us"] > row["baked_p50_us"]],
        }
        for axis, bindings in curves(rows).items()
        for binding, curve in bindings.items()
    ]


def against_the_rule(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For each point of a target with a rule (`Target.choose`) and inputs: what it takes, what inputs cost there as
    measured, and whether they agree.

    The rule is right where it takes inputs just where these cost an inference no more than it allows
    (`mnet.export.lowering.xnnpack_inputs`).
    """
    found = []
    for row in (row for row in rows if row["binding"] == "input" and "rule" in row):
        added = (row["ratio_p50"] - 1) * row["baked_p50_us"]
        cheap = row["ratio_p50"] <= RATIO or added <= UNNOTICED_US
        found.append(
            {
                "axis": row["axis"],
                "value": row["value"],
                "rule": row["rule"],
                "input_ratio": row["ratio_p50"],
                "input_adds_us": round(added, 2),
                "agrees": cheap == (row["rule"] == "input"),
            }
        )
    return found


def label(axis: str, value: int) -> str:
    """A value on an axis, for people."""
    if axis in ("history", "batch"):
        return str(value)
    return f"{value // MB} MB" if value >= MB else f"{value // KB} KB"
