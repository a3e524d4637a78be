"""The page of what was measured: the files that `mnet` commands left in some folders, and bundles timed now."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mnet.export.bench import growth_tables
from mnet.export.bench.growth import curves
from mnet.export.bench.latency import Bench
from mnet.export.bench.latency_tables import bench_table
from mnet.export.bench.matrix import COLUMNS, cell_texts
from mnet.toolchain.errors import UserError
from mnet.toolchain.report.figures import Line, bars, histograms, lines
from mnet.toolchain.report.frontier import frontier_sections
from mnet.toolchain.report.page import Card, Page, Section, Table
from mnet.toolchain.training.bootstrap import gain_text
from mnet.toolchain.training.evaluate import figure_text, seeds_text
from mnet.toolchain.training.staleness import staleness_rows

Benched = tuple[Bench, dict[str, Any]]
"""Raw figures of a bundle, and its `Bench.report`."""


def measured_page(folders: Sequence[Path], benched: Sequence[Benched]) -> Page:
    """The page of these folders and bundles; UserError for a folder in which no command left figures."""
    found = [(name, report, folder) for folder in folders for name, report in _read(folder)]
    sections = [
        _named(_SECTIONS[name](report), report, folder if len(folders) > 1 else None)
        for wanted in _SECTIONS
        for name, report, folder in found
        if name == wanted
    ]
    evaluations = [report for name, report, _ in found if name == "evaluation.json"]
    evaluation = evaluations[0] if evaluations else None
    return Page(
        title=_subject(evaluations[0]) if len(evaluations) == 1 else "What was measured",
        lead=(
            "A phone uploads a few samples, the cloud generates the weights of a few layers, the phone swaps them in. "
            "What that gains, and what it costs."
        ),
        cards=[*_quality_cards(evaluation), *_bench_cards(benched)],
        sections=[
            *sections,
            *frontier_sections(evaluations, [report for _, report in benched]),
            *bench_sections(benched),
        ],
    )


def bench_sections(benched: Sequence[Benched]) -> list[Section]:
    """What the bundles cost: a table with a column for each, and how their inferences spread."""
    if not benched:
        return []
    header, rows = bench_table([report for _, report in benched], ", ")
    return [
        Section(
            title="What it costs on the device",
            text=(
                "This machine's CPU; constant weights, constant weights again as a control, and swappable ones in turn "
                "in one process. Resident memory (RSS) in a process of its own. No phone took part: trust the ratios, "
                "not the microseconds."
            ),
            tables=[Table(header, rows)],
            figures=[
                inference_figure(bench, f"{r['model']}, {r['target']}: inference, µs") for bench, r in benched
            ],
            command="mnet bench BUNDLE ...",
        )
    ]


def inference_figure(bench: Bench, x: str) -> str:
    """How long inferences took with constant and with swappable weights, as SVG."""
    named = {"constant": bench.baked_s, "swappable": bench.swappable_s}
    return histograms({name: [s * 1e6 for s in seconds] for name, seconds in named.items()}, x=x)


def _subject(evaluation: Mapping[str, Any]) -> str:
    return f"{evaluation['dataset']}/{evaluation['model']}"


def _named(section: Section, report: Any, folder: Path | None) -> Section:
    """The section with what it is about in its title, where the page is about several things."""
    if folder is None or isinstance(report, list):
        return section
    about = _subject(report) if "dataset" in report else folder.name
    return replace(section, title=f"{section.title}: {about}")


def _read(folder: Path) -> list[tuple[str, Any]]:
    files = [folder / name for name in _SECTIONS if (folder / name).is_file()]
    if not files:
        raise UserError(f"{folder} is no bundle and holds none of {', '.join(_SECTIONS)}")
    return [(file.name, json.loads(file.read_text(encoding="utf-8"))) for file in files]


def _quality(report: Mapping[str, Any]) -> Section:
    first, *others = list(next(iter(report["metrics"].values())))[:4]
    rows = []
    for method, values in report["metrics"].items():
        figures = {metric: figure_text(values[metric]) for metric in (first, *others)}
        gain = gain_text(report["gain"][method][first]) if method != report["equal_cost"] else ""
        rows.append([method, figures[first], gain, *(figures[metric] for metric in others)])
    bar = [values[first] for values in report["metrics"].values()]
    return Section(
        title="What it gains",
        text=(
            f"{report['queries']:,} test queries; the gain is over {report['equal_cost']}, the strongest method "
            f"without generation that costs a device no more; {seeds_text(report)}."
        ),
        tables=[Table(["method", first, "gain, 95 %", *others], rows)],
        figures=[
            bars(list(report["metrics"]), [b["mean"] for b in bar], [b["std"] or 0.0 for b in bar], x=first)
        ],
        command="mnet evaluate RUN ...",
    )


def _ablation(report: Mapping[str, Any]) -> Section:
    variants = report["variants"]
    rows = [
        [
            name,
            f"{row['metric']:.4f}",
            str(row["epochs_to_95"]),
            f"{row['weight_change']:.2%}",
            f"{row['changed_lists']:.1%}",
        ]
        for name, row in variants.items()
    ]
    header = ["stabilizer", report["metric"], "epochs to 95 %", "change of weights", "changed lists"]
    curves = [
        Line(name, range(1, len(row["curve"]) + 1), row["curve"])
        for name, row in variants.items()
        if name != "smoothing"  # trained as "none"
    ]
    return Section(
        title="What each part of the stabilizer is worth",
        text="Trained without, with each and with all parts; changes are those when one sample enters the context.",
        tables=[Table(header, rows)],
        figures=[lines(curves, x="epoch", y=f"{report['metric']}, validation")],
        command="mnet ablate CONFIG",
    )


def _staleness(report: Mapping[str, Any]) -> Section:
    curve = report["curve"]
    steps = [point["refresh"] for point in curve]
    generated = Line("MetaNetwork", steps, [point["value"] for point in curve])
    static = Line("static", steps, [report["static"]] * len(steps))
    return Section(
        title="How often a phone must ask",
        text="Quality when new weights come only every so many interactions.",
        tables=[
            Table(
                ["interactions a pack serves", report["metric"], "gain, 95 %"], staleness_rows(dict(report))
            )
        ],
        figures=[lines([static, generated], x="interactions that one pack serves", y=report["metric"])],
        command="mnet staleness RUN",
    )


def _cost(report: Mapping[str, Any]) -> Section:
    tables = [
        Table(
            ["method", "training, samples/s"], [[name, f"{v:,.0f}"] for name, v in report["training"].items()]
        )
    ]
    if adaptation := report.get("adaptation"):
        header = ["devices at a time", "generation", f"fine-tuning, {adaptation['steps']} steps", "ratio"]
        rows = [
            [
                count,
                f"{row['generation_ms']:.3f} ms",
                f"{row['fine_tuning_ms']:.3f} ms",
                f"{row['ratio']:,.0f}",
            ]
            for count, row in adaptation["devices"].items()
        ]
        tables.append(Table(header, rows))
    return Section(
        title="What training and adapting cost",
        text=f"Timed in turns, {report['threads']} threads; adapting is the median for one device.",
        tables=tables,
        command="mnet cost RUN",
    )


def _matrix(cells: Sequence[Mapping[str, Any]]) -> Section:
    return Section(
        title="Every model on every target",
        text="Exported, verified against eager PyTorch with 21 packs, and timed where this machine has the runtime.",
        tables=[Table(list(COLUMNS.values()), [cell_texts(cell) for cell in cells])],
        command="mnet matrix RUN ... --out FOLDER",
    )


def _growth(report: Mapping[str, Any]) -> Section:
    points = report["points"]
    figures = []
    for axis, bindings in curves(points).items():
        series = [
            Line(
                f"by {binding}" if binding else "swappable",
                [point["value"] for point in curve],
                [point["ratio_p50"] for point in curve],
            )
            for binding, curve in bindings.items()
        ]
        name = growth_tables.AXES[axis]
        figures.append(lines(series, x=name, y="inference, swappable ÷ constant", logarithmic=True))
    place = "native code" if report["on"] == "native" else "Python"
    return Section(
        title="How the cost grows",
        text=f"Made-up models for target {report['target']}, {report['runtime']}, timed in {place}.",
        tables=[
            Table(["the knees"], [[line] for line in growth_tables.knee_lines(report)]),
            Table(*growth_tables.growth_table(points)),
        ],
        figures=figures,
        command=f"mnet growth --target {report['target']} --on {report['on']} -o FOLDER",
    )


# In the order of the page.
_SECTIONS: Mapping[str, Callable[[Any], Section]] = {
    "evaluation.json": _quality,
    "ablation.json": _ablation,
    "staleness.json": _staleness,
    "cost.json": _cost,
    "matrix.json": _matrix,
    "growth.json": _growth,
}


def _quality_cards(evaluation: Mapping[str, Any] | None) -> list[Card]:
    if evaluation is None or "metanetwork" not in evaluation["gain"]:
        return []
    metric = next(iter(evaluation["gain"]["metanetwork"]))
    gain = gain_text(evaluation["gain"]["metanetwork"][metric]).partition(" ")[0]
    return [Card(gain, f"{metric} over {evaluation['equal_cost']}, {_subject(evaluation)}")]


def device_cards(report: Mapping[str, Any]) -> list[Card]:
    """What swapping costs an inference, and a swap itself, of a `Bench.report`."""
    return [
        Card(f"{report['inference']['ratio_p50']:.3f}", "inference time, swappable ÷ constant weights"),
        Card(f"{report['swap']['p50_us']:.0f} µs", "a swap: check, self-test, publish"),
    ]


def _bench_cards(benched: Sequence[Benched]) -> list[Card]:
    if not benched:
        return []
    _, report = benched[0]
    return [
        *device_cards(report),
        Card(f"{report['push_bytes'] / 1024:.1f} KiB", "one push"),
        Card(
            f"{report['push_bytes'] / report['baked_program_bytes']:.1%}", "of shipping the model file again"
        ),
    ]
