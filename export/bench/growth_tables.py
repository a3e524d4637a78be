"""What `mnet.export.bench.growth` measured, for people: rows of a table, sentences, and a plot."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mnet.export.bench.growth import RATIO, curves, label
from mnet.export.bench.pictures import GREY, colours, picture

COLUMNS = (
    "axis",
    "at",
    "weights by",
    "constant",
    "ratio",
    "control",
    "swap",
    "of it writing",
    "the rule takes",
)
AXES = {
    "generated": "generated layer",
    "base": "model before it",
    "history": "length of the history",
    "batch": "batch",
}


def growth_table(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Header and a row for each point; a column that holds nothing, as where a target has one binding, is left out."""
    table = [COLUMNS, *map(_cells, rows)]
    shown = [k for k in range(len(COLUMNS)) if any(cells[k] for cells in table[1:])]
    header, *points = ([cells[k] for k in shown] for cells in table)
    return header, points


def knee_lines(report: Mapping[str, Any]) -> list[str]:
    """A sentence for each curve: where it has its knee; and for target android where the rule errs."""
    lines = [
        f"{AXES[knee['axis']]}{', weights by ' + knee['binding'] if knee['binding'] else ''}: ratio above {RATIO:.2f} "
        f"{_where(knee, 'ratio')}; writing takes longer than an inference {_where(knee, 'write')}"
        for knee in report["knees"]
    ]
    if checked := report["rule"]:
        wrong = [each for each in checked if not each["agrees"]]
        lines.append(f"the target's rule agrees with {len(checked) - len(wrong)} of {len(checked)} points")
        lines += [
            f"it takes {each['rule']} at {AXES[each['axis']]} {label(each['axis'], each['value'])}, where inputs have "
            f"ratio {each['input_ratio']:.3f} (+{each['input_adds_us']:.1f} µs)"
            for each in wrong
        ]
    return lines


def plot_growth(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw ratio and times over each axis into a PNG file."""
    drawn = curves(rows)
    names = {row["binding"] or "swappable" for row in rows}
    shades = colours([*sorted(names), "constant"])
    with picture(path, len(drawn), 2, size=(4.4 * len(drawn), 6.8)) as grid:
        for (axis, bindings), (ratio, time) in zip(drawn.items(), grid.T, strict=True):
            for binding, curve in bindings.items():
                at, name = [row["value"] for row in curve], binding or "swappable"
                ratio.plot(at, [row["ratio_p50"] for row in curve], "o-", label=name, color=shades[name])
                times = [row["swap_p50_us"] for row in curve]
                time.plot(at, times, "o-", label=f"swap, {binding or 'whole'}", color=shades[name])
            control = [row["control_ratio_p50"] for row in curve]
            ratio.plot(at, control, ":", color=shades["constant"], label="control: constant again")
            ratio.axhline(RATIO, color=GREY, linestyle="--", linewidth=1)
            constant = [row["baked_p50_us"] for row in curve]
            time.plot(at, constant, ":", color=shades["constant"], label="an inference, constant")
            ratio.set(title=AXES[axis], ylabel="inference, swappable ÷ constant", xscale="log")
            time.set(ylabel="µs", xscale="log", yscale="log")
            for part in (ratio, time):
                part.set_xticks(at, [label(axis, value) for value in at], rotation=45)
                part.minorticks_off()
                part.legend()


def _where(knee: Mapping[str, Any], cost: str) -> str:
    """Where a curve is above the limit: the value at which it crosses is the knee."""
    values, above = knee["values"], knee[cost]
    named = [label(knee["axis"], value) for value in above]
    if len(above) in (0, len(values)):
        return "everywhere" if above else "nowhere"
    if above == values[-len(above) :]:
        return f"from {named[0]} on"
    if above == values[: len(above)]:
        return f"up to {named[-1]}"
    return f"at {', '.join(named)}"


def _cells(row: Mapping[str, Any]) -> Sequence[str]:
    """A point under `COLUMNS`."""
    return (
        AXES[row["axis"]],
        label(row["axis"], row["value"]),
        row["binding"] or "",
        f"{row['baked_p50_us']:.1f} µs",
        f"{row['ratio_p50']:.3f}",
        f"{row['control_ratio_p50']:.3f}",
        f"{row['swap_p50_us']:,.0f} µs",
        f"{row['write_p50_us']:,.0f} µs",
        row.get("rule", ""),
    )
