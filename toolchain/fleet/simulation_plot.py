"""A simulation as a picture: quality and bytes over time, and how long swaps take."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from toolchain.fleet.simulation import Outcome

_COLOURS = ("#2f6fed", "#1a9c6b", "#b5479d", "#e08a1e", "#6b4fbb", "#b03a2e")
_STATIC = "#7f8c9b"
_STYLE: Any = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#88888833",
    "legend.frameon": False,
}


def plot_simulation(report: dict[str, Any], outcome: Outcome, file: Path) -> None:
    """Four panels, as PNG; `report` is that of the same outcome."""
    colour = {policy: _COLOURS[n % len(_COLOURS)] for n, policy in enumerate(report["policies"])}
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(12, 7.2), layout="constrained")
        (quality, size), (swap, wait) = figure.subplots(2, 2)
        _quality(quality, report, colour)
        for policy, values in report["cumulative_bytes"].items():
            size.plot(
                np.arange(1, len(values) + 1), np.array(values) / 1000, color=colour[policy], label=policy
            )
        size.set(
            xlabel="turn (predictions of each phone)", ylabel="kB of weights a phone, so far", ylim=(0, None)
        )
        for axes in (quality, size):
            _marks(axes, report, outcome.refresh)
        _shares(swap, {p: t.swap_us for p, t in outcome.tallies.items()}, colour, "swap, µs")
        waits = {p: t.upload_to_swap_ms for p, t in outcome.tallies.items()}
        _shares(wait, waits, colour, "upload to swapped, ms, all phones of a policy at once")
        figure.legend(*quality.get_legend_handles_labels(), loc="outside upper center", ncols=8)
        figure.savefig(file, dpi=120)


def _quality(axes: Axes, report: dict[str, Any], colour: Mapping[str, str]) -> None:
    found = report["quality"]
    axes.plot(found["turn"], found["static"], color=_STATIC, label="static model", linewidth=2, marker="o")
    for policy in report["policies"]:
        axes.plot(found["turn"], found[policy], color=colour[policy], label=policy, linewidth=2, marker="o")
    axes.set(xlabel="turn (predictions of each phone)", ylabel=report["metric"].upper())


def _marks(axes: Axes, report: dict[str, Any], refresh: int) -> None:
    """Each fault as a shaded span with its name, the drift as a dashed line."""
    top = axes.get_xaxis_transform()
    for fault in report["faults"]:
        if not fault["skipped"]:
            begin, end = fault["turn"], fault["turn"] + refresh
            axes.axvspan(begin, end, color="#d64545", alpha=0.12, linewidth=0)
            middle = (begin + end) / 2
            axes.text(middle, 0.02, fault["fault"], transform=top, rotation=90, fontsize=7, ha="center")
    if report["drift"] is not None:
        axes.axvline(report["drift"], color="#1b2430", linestyle="--", linewidth=1)
        axes.text(report["drift"], 1.0, " phones change hands", transform=top, fontsize=8, va="top")


def _shares(
    axes: Axes, samples: Mapping[str, Sequence[float]], colour: Mapping[str, str], label: str
) -> None:
    for policy, values in samples.items():
        if values:
            axes.ecdf(values, color=colour[policy], linewidth=2)
    axes.set(xlabel=label, ylabel="share of swaps", xscale="log")
