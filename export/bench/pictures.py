"""The one style of all pictures: colours by what they stand for, the order of methods, and what made them."""

import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mnet.export.bench.latency import machine

INK = "#1b2430"
GREY, ORANGE, BLUE, GREEN, PURPLE, RED = "#76838f", "#c2710c", "#2f6fed", "#178a5e", "#b5479d", "#c8453b"
# Each stands out at least 3 to 1 from white and from the dark page.
PALETTE = (GREY, ORANGE, BLUE, GREEN, PURPLE, RED)

# What stands for the model without pushed weights is grey, what everyone is pushed orange, what is made for one device
# blue; all else takes what is left.
_MEANING = {
    **dict.fromkeys(("static", "static model", "constant"), GREY),
    **dict.fromkeys(
        ("default pack", "world pack", "default pack + world", "never", "constant again"), ORANGE
    ),
    **dict.fromkeys(("metanetwork", "swappable", "newest push", "shift", "all", "metanetwork + world"), BLUE),
    **dict.fromkeys(("first push kept", "direct", "always"), GREEN),
    **dict.fromkeys(("cloud",), PURPLE),
}
_OTHERS = (PURPLE, GREEN, RED, ORANGE, GREY, BLUE)
# From what a phone has anyway to what is made for it, and what no phone runs.
_ORDER = (
    *(
        "static",
        "default pack",
        "world pack",
        "default pack + world",
        "direct",
        "metanetwork",
        "metanetwork + world",
    ),
    "cloud",
)
_NAME_HEIGHT = 0.085  # of the height of the axes


def style(ink: str = INK) -> Any:
    """Matplotlib's settings for a picture whose text and axes are of colour `ink`."""
    return {
        "svg.fonttype": "none",
        "svg.hashsalt": "mnet",
        "font.family": "sans-serif",
        "font.size": 10.5,
        "text.color": ink,
        "axes.labelcolor": ink,
        "axes.edgecolor": ink,
        "axes.titlesize": 11,
        "xtick.color": ink,
        "ytick.color": ink,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": "#88888833",
        "legend.frameon": False,
    }


def colours(names: Iterable[str]) -> dict[str, str]:
    """A colour for each name: its own where it has one, else the next that none of the others has."""
    names = list(names)
    found = {name: _MEANING[name] for name in names if name in _MEANING}
    free = [colour for colour in _OTHERS if colour not in found.values()] + list(_OTHERS)
    others = [name for name in names if name not in found]
    return found | {name: free[n % len(free)] for n, name in enumerate(others)}


def ordered(methods: Iterable[str]) -> list[str]:
    """Methods as tables and pictures list them: what a phone has by itself, what is pushed to it, the cloud model."""
    known = {name: rank for rank, name in enumerate(_ORDER)}
    return sorted(methods, key=lambda name: known.get(name, 0.5))


@dataclass(frozen=True)
class Made:
    """What made a picture or a page: version of mnet, day (UTC), machine, and command; empty if there was none."""

    version: str
    date: str
    machine: str
    command: str

    @classmethod
    def now(cls) -> "Made":
        from mnet import __version__

        program, on = Path(sys.argv[0]), machine()
        is_ours = program.name == "mnet" or program.parent.name == "cli"
        return cls(
            version=__version__,
            date=f"{datetime.now(UTC):%Y-%m-%d}",
            machine=f"{on['processor']}, {on['cores']} cores, {on['system'].partition(' ')[0]}",
            command=shlex.join(["mnet", *sys.argv[1:]]) if is_ours else "",
        )

    def __str__(self) -> str:
        return f"mnet {self.version}, {self.date}, {self.machine}"


@contextmanager
def picture(
    file: Path, columns: int = 1, rows: int = 1, *, size: tuple[float, float]
) -> Iterator[NDArray[Any]]:
    """Axes [rows, columns] in the house style; written to `file` as PNG, with what made it, when the block ends."""
    with rc_context(style()):
        figure = Figure(figsize=size, layout="constrained")
        yield figure.subplots(rows, columns, squeeze=False)
        made = Made.now()
        stamp = "\n".join(filter(None, (made.command[:150], str(made))))
        figure.supxlabel(stamp, x=0.01, ha="left", fontsize=7, color=GREY)
        part = file.with_suffix(".part")
        figure.savefig(part, format="png", dpi=120)
        part.replace(file)  # whoever looks at it meanwhile sees the old one or the new one


def draw_intervals(axes: Axes, labels: Sequence[str], values: Sequence[tuple[float, float, float]]) -> None:
    """A dot with its interval (value, low, high) for each label, first on top, and a line at zero: no gain."""
    for row, (label, (value, low, high)) in enumerate(zip(labels, values, strict=True)):
        shade = _MEANING.get(label, GREY)
        axes.plot((low, high), (row, row), color=shade, linewidth=3, alpha=0.45, solid_capstyle="butt")
        axes.plot(value, row, "o", color=shade, markersize=7)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    axes.axvline(0, color=GREY, linestyle="--", linewidth=1)


def draw_bars(
    axes: Axes, labels: Sequence[str], values: Sequence[float], errors: Sequence[float | None]
) -> None:
    """A level bar from 0 for each label, first on top; an error bar where there is an error."""
    for row, (label, value, error) in enumerate(zip(labels, values, errors, strict=True)):
        more: dict[str, Any] = (
            {} if error is None else {"xerr": error, "error_kw": {"capsize": 3, "ecolor": GREY}}
        )
        axes.barh(row, value, height=0.6, color=_MEANING.get(label, GREY), alpha=0.85, **more)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")


def name_ends(axes: Axes, ends: Sequence[tuple[str, float]], shades: dict[str, str]) -> None:
    """The name of each curve right of its end, given as (name, y); names are moved apart where they would overlap."""
    low, high = axes.get_ylim()
    scale = axes.transAxes.inverted()
    at = np.array([scale.transform(axes.transData.transform((axes.get_xlim()[1], y)))[1] for _, y in ends])
    at = np.nan_to_num(np.clip(at, 0, 1)) if high > low else np.zeros(len(ends))
    order = np.argsort(at, kind="stable")
    places = at[order]
    for k in range(1, len(places)):
        places[k] = max(places[k], places[k - 1] + _NAME_HEIGHT)
    places -= max(0.0, (places[-1] - 1.0) if len(places) else 0.0)
    for place, index in zip(places, order, strict=True):
        axes.annotate(
            ends[index][0],
            (1.0, float(place)),
            xycoords="axes fraction",
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            color=shades[ends[index][0]],
            annotation_clip=False,
        )
