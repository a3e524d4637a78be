"""A simulation as a picture: quality and bytes over time, and how long swaps take."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator

from mnet.export.bench.pictures import GREY, INK, RED, colours, name_ends, picture
from mnet.toolchain.fleet.simulation import Outcome


def plot_simulation(report: dict[str, Any], outcome: Outcome, file: Path) -> None:
    """Four panels, as PNG; `report` is that of the same outcome."""
    colour = colours(["static model", *report["policies"]])
    with picture(file, 2, 2, size=(12, 8.4)) as panels:
        (quality, size), (swap, wait) = panels
        _quality(quality, report, colour)
        for policy, values in report["cumulative_bytes"].items():
            size.plot(
                np.arange(len(values) + 1), np.array([0, *values]) / 1000, color=colour[policy], linewidth=2
            )
        size.set(ylabel="kB of weights a phone, so far", ylim=(0, None))
        for axes in (quality, size):
            axes.set(xlabel="turn: items taken by each user", xlim=(0, len(report["phones"])))
            _marks(axes, report, outcome.refresh)
        swaps = {policy: each.swap_us for policy, each in outcome.totals.items()}
        waits = {policy: each.upload_to_swap_ms for policy, each in outcome.totals.items()}
        _shares(swap, swaps, colour, "swap, µs")
        _shares(wait, waits, colour, "upload to swapped, ms")
        ends = [(name, report["cumulative_bytes"][name][-1] / 1000) for name in report["policies"]]
        name_ends(size, ends, colour)


def _quality(axes: Axes, report: dict[str, Any], colour: Mapping[str, str]) -> None:
    """Curves by policy; behind them, how many phones are still replayed."""
    found, phones = report["quality"], report["phones"]
    behind = axes.twinx()
    behind.fill_between(
        np.arange(len(phones) + 1), [*phones, phones[-1]], step="post", color=GREY, alpha=0.12
    )
    behind.set(ylabel="phones still replayed (grey)", ylim=(0, 1.3 * phones[0]))
    behind.grid(visible=False)
    axes.set_zorder(behind.get_zorder() + 1)
    axes.patch.set_visible(False)
    for name, shade in colour.items():
        values = found["static" if name == "static model" else name]
        axes.plot(found["turn"], values, color=shade, label=name, linewidth=2, marker="o", markersize=4)
    axes.legend(loc="lower left", ncols=2)
    axes.set(ylabel=f"{report['metric'].upper()}, means of stretches", ylim=(0, None))


def _marks(axes: Axes, report: dict[str, Any], refresh: int) -> None:
    """Each fault as a shaded span with its name above, the drift as a dashed line."""
    top = axes.get_xaxis_transform()
    for fault in report["faults"]:
        if not fault["skipped"]:
            begin, end = fault["turn"], fault["turn"] + refresh
            axes.axvspan(begin, end, color=RED, alpha=0.12, linewidth=0)
            axes.text(
                (begin + end) / 2, 1.01, fault["fault"], transform=top, rotation=45, fontsize=8, va="bottom"
            )
    if report["drift"] is not None:
        axes.axvline(report["drift"], color=INK, linestyle="--", linewidth=1)
        axes.text(report["drift"], 0.99, " phones change hands", transform=top, fontsize=8, va="top")


def _shares(
    axes: Axes, samples: Mapping[str, Sequence[float]], colour: Mapping[str, str], label: str
) -> None:
    for policy, values in samples.items():
        if values:
            axes.ecdf(values, color=colour[policy], linewidth=2)
    axes.set(xlabel=label, ylabel="share of swaps", xscale="log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")
