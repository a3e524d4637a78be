"""Figures as inline SVG that follow the page's colours, light or dark."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Text and axes are drawn in this colour, which the SVG then replaces by CSS `currentColor`.
_INK = "#010203"
_NAME_HEIGHT = 0.085  # of the height of the axes
PALETTE = ("#7f8c9b", "#e08a1e", "#2f6fed", "#1a9c6b", "#b5479d")

_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "mnet",
    "font.family": "sans-serif",
    "font.size": 10.5,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#88888833",
    "legend.frameon": False,
}


@dataclass(frozen=True)
class Line:
    """One curve: `y` over `x` (any unit, named by the axes), with an optional half-width `band` around it."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    band: Sequence[float] | None = None


def lines(
    series: Sequence[Line],
    *,
    x: str,
    y: str,
    mark: float | None = None,
    logarithmic: bool = False,
    from_zero: bool = False,
) -> str:
    """At most as many curves as PALETTE has colours, each named at its end. Returns SVG text.

    `mark` draws a dashed vertical line; with `logarithmic` the x axis is; `from_zero` starts the y axis at 0.
    """
    assert len(series) <= len(PALETTE)

    def draw(axes: Axes) -> None:
        for line, colour in zip(series, PALETTE, strict=False):
            axes.plot(line.x, line.y, color=colour, label=line.label, linewidth=2)
            if line.band is not None:
                low, high = np.subtract(line.y, line.band), np.add(line.y, line.band)
                axes.fill_between(line.x, low, high, color=colour, alpha=0.15, linewidth=0)
        if mark is not None:
            axes.axvline(mark, color=_INK, linestyle="--", linewidth=1)
        if logarithmic:
            axes.set_xscale("log", base=2)
        if from_zero:
            axes.set_ylim(bottom=0)
        _name_ends(axes, series)

    return _svg(draw, x, y)


class Point(NamedTuple):
    """A value `y` at `x` (any unit, named by the axes), with an error bar of `error` to either side."""

    x: float
    y: float
    error: float = 0.0


def points(series: Mapping[str, Sequence[Point]], *, x: str, y: str, ceiling: float | None = None) -> str:
    """Points of at most as many kinds as PALETTE has colours; `ceiling` draws a dashed horizontal line. Returns SVG."""
    assert len(series) <= len(PALETTE)

    def draw(axes: Axes) -> None:
        for (label, found), colour in zip(series.items(), PALETTE, strict=False):
            at, values, errors = zip(*found, strict=True)
            axes.errorbar(at, values, errors, fmt="o", color=colour, label=label, capsize=3)
        if ceiling is not None:
            axes.axhline(ceiling, color=_INK, linestyle="--", linewidth=1)
        axes.legend()

    return _svg(draw, x, y)


def _name_ends(axes: Axes, series: Sequence[Line]) -> None:
    """Each curve's name right of its end; names that would lie on each other are moved apart."""
    low, high = axes.get_ylim()
    ends = np.array([(line.y[-1] - low) / (high - low) if len(line.y) else 0.0 for line in series])
    order = np.argsort(ends, kind="stable")
    places = ends[order]
    for k in range(1, len(places)):
        places[k] = max(places[k], places[k - 1] + _NAME_HEIGHT)
    places -= max(0.0, places[-1] - 1.0)
    for place, index in zip(places, order, strict=True):
        axes.annotate(
            series[index].label,
            (1.0, float(place)),
            xycoords="axes fraction",
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            color=PALETTE[index],
            annotation_clip=False,
        )


def bars(labels: Sequence[str], values: Sequence[float], errors: Sequence[float], *, x: str) -> str:
    """A horizontal bar for each label, first on top, with an error bar of `errors` to either side. Returns SVG text."""

    def draw(axes: Axes) -> None:
        axes.barh(
            labels, values, xerr=errors, color=PALETTE[2], alpha=0.75, error_kw={"ecolor": _INK, "capsize": 3}
        )
        axes.invert_yaxis()

    return _svg(draw, x, "")


def histograms(samples: Mapping[str, Sequence[float]], *, x: str) -> str:
    """Distributions up to three times their median (a busy machine's tail would hide the shape). Returns SVG text."""
    top = max(min(3 * float(np.median(values)), float(np.max(values))) for values in samples.values())
    low = min(float(np.min(values)) for values in samples.values())

    def draw(axes: Axes) -> None:
        for (label, values), colour in zip(samples.items(), PALETTE[2:] + PALETTE, strict=False):
            axes.hist(values, bins=60, range=(low, top), color=colour, alpha=0.55, label=label)
        axes.legend()

    return _svg(draw, x, "count")


def standalone(svg: str) -> str:
    """The same figure for a file of its own: dark on white, whatever surrounds it."""
    return svg.replace("<svg ", '<svg style="background:#fff;color:#1b2430" ', 1)


def _svg(draw: Callable[[Axes], None], x: str, y: str) -> str:
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(5.2, 3.0), layout="constrained")
        axes = figure.subplots()
        draw(axes)
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        text = StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    svg = text.getvalue()
    return svg[svg.index("<svg") :].replace(_INK, "currentColor")
