"""Figures as inline SVG that follow the page's colours, light or dark."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import NamedTuple

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mnet.export.bench.pictures import colours, name_ends, style

# Text and axes are drawn in this colour, which the SVG then replaces by CSS `currentColor`.
_INK = "#010203"
# As on the pages of reports.
_GROUND = (
    "svg { background: #fff; color: #1b2430 } "
    "@media (prefers-color-scheme: dark) { svg { background: #12171e; color: #e6ebf1 } }"
)


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
    """Curves, each named at its end. Returns SVG text.

    `mark` draws a dashed vertical line; with `logarithmic` the x axis is; `from_zero` starts the y axis at 0.
    """
    shades = colours(line.label for line in series)

    def draw(axes: Axes) -> None:
        for line in series:
            colour = shades[line.label]
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
        name_ends(axes, [(line.label, line.y[-1]) for line in series if len(line.y)], shades)

    return _svg(draw, x, y)


class Point(NamedTuple):
    """A value `y` at `x` (any unit, named by the axes), with an error bar of `error` to either side."""

    x: float
    y: float
    error: float = 0.0


def points(series: Mapping[str, Sequence[Point]], *, x: str, y: str, ceiling: float | None = None) -> str:
    """Points of several kinds; `ceiling` draws a dashed horizontal line. Returns SVG."""
    shades = colours(series)

    def draw(axes: Axes) -> None:
        for label, found in series.items():
            colour = shades[label]
            at, values, errors = zip(*found, strict=True)
            axes.errorbar(at, values, errors, fmt="o", color=colour, label=label, capsize=3)
        if ceiling is not None:
            axes.axhline(ceiling, color=_INK, linestyle="--", linewidth=1)
        axes.legend()

    return _svg(draw, x, y)


def figure(draw: Callable[[Axes], None], rows: int = 6) -> str:
    """What `draw` draws, with room for `rows` names one above the other. Returns SVG text."""
    return _svg(draw, height=1.0 + 0.34 * rows)


def histograms(samples: Mapping[str, Sequence[float]], *, x: str) -> str:
    """Distributions up to three times their median (a busy machine's tail would hide the shape). Returns SVG text."""
    top = max(min(3 * float(np.median(values)), float(np.max(values))) for values in samples.values())
    low = min(float(np.min(values)) for values in samples.values())

    def draw(axes: Axes) -> None:
        shades = colours(samples)
        for label, values in samples.items():
            axes.hist(values, bins=60, range=(low, top), color=shades[label], alpha=0.55, label=label)
        axes.legend(loc="upper right")

    return _svg(draw, x, "count")


def standalone(svg: str) -> str:
    """The same figure for a file of its own, on a ground of its own, light or dark as its reader prefers."""
    begins = svg.index(">") + 1
    return f"{svg[:begins]}\n<style>{_GROUND}</style>{svg[begins:]}"


def _svg(draw: Callable[[Axes], None], x: str = "", y: str = "", height: float = 3.0) -> str:
    with rc_context(style(_INK)):
        figure = Figure(figsize=(5.6, height), layout="constrained")
        axes = figure.subplots()
        draw(axes)
        if x:
            axes.set_xlabel(x)
        if y:
            axes.set_ylabel(y)
        text = StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    svg = text.getvalue()
    return svg[svg.index("<svg") :].replace(_INK, "currentColor")
