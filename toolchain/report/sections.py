"""The sections of a report: one for each file of figures that a command leaves in a folder."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from mnet.export.bench import growth_tables
from mnet.export.bench.growth import curves
from mnet.export.bench.latency_tables import bench_table
from mnet.export.bench.matrix import COLUMNS, cell_texts
from mnet.toolchain.fleet.faults import FAULTS_HEADER, fault_rows, read_outcomes
from mnet.toolchain.fleet.simulation_report import SWAP_HEADER, swap_rows
from mnet.toolchain.fleet.simulation_report import policy_header as fleet_header
from mnet.toolchain.fleet.simulation_report import policy_rows as fleet_rows
from mnet.toolchain.report.figures import Line, figure, lines
from mnet.toolchain.report.page import Section, Table
from mnet.toolchain.training.ablation import ablation_table
from mnet.toolchain.training.bootstrap import gain_heading, gain_text
from mnet.toolchain.training.compare_policies import draw_policies, policy_header, policy_rows
from mnet.toolchain.training.evaluate import draw_gains, figure_text, rows_of, seeds_text
from mnet.toolchain.training.room import room_rows
from mnet.toolchain.training.staleness import draw_staleness, staleness_rows


def subject(evaluation: Mapping[str, Any]) -> str:
    """What an evaluation is of."""
    return f"{evaluation['dataset']}/{evaluation['model']}"


def _quality(report: Mapping[str, Any]) -> Section:
    first, *others = list(next(iter(report["metrics"].values())))[:4]
    methods = rows_of(report)
    rows = []
    for method in methods:
        values = report["metrics"][method]
        figures = {metric: figure_text(values[metric]) for metric in (first, *others)}
        gain = gain_text(report["gain"][method][first]) if method != report["equal_cost"] else ""
        rows.append([method, figures[first], gain, *(figures[metric] for metric in others)])
    heading = gain_heading(
        (of[first] for method, of in report["gain"].items() if method != report["equal_cost"]),
        report["equal_cost"],
    )
    return Section(
        title="What it gains",
        text=(
            f"{report['queries']:,} test queries; the gain is over {report['equal_cost']}, the strongest method "
            f"without generation that costs a device no more; {seeds_text(report)}. What the default pack gains comes "
            "with the app; only what the other packs gain on top of it comes by pushing."
        ),
        tables=[Table(["method", first, f"{heading}, 95 %", *others], rows)],
        figures=[figure(partial(draw_gains, report=report, metric=first), rows=len(methods) - 1)]
        * (len(methods) > 1),
        command=_command(report, "mnet evaluate RUN ..."),
    )


def _command(report: Mapping[str, Any], instead: str) -> str:
    """The command that wrote a report; `instead` where it does not say."""
    return report.get("made", {}).get("command") or instead


def _ablation(report: Mapping[str, Any]) -> Section:
    curves = [
        Line(name, range(1, len(row["curve"]) + 1), row["curve"])
        for name, row in report["variants"].items()
        if name != "smoothing"  # trained as "none"
    ]
    return Section(
        title="What each part of the stabilizer is worth",
        text=(
            "Trained without, with each and with all parts; what a variant has over its default pack comes by pushing. "
            "Changes are those when one sample enters the context."
        ),
        tables=[Table(*ablation_table(report))],
        figures=[lines(curves, x="epoch", y=f"{report['metric']}, validation")],
        command=_command(report, "mnet ablate CONFIG"),
    )


def _staleness(report: Mapping[str, Any]) -> Section:
    kinds = {"curve": "interactions a pack serves", "age": "age of a world pack"}
    shown = {kind: heading for kind, heading in kinds.items() if report.get(kind)}
    return Section(
        title="How long new weights stay good",
        text="What packs gain over the static model by how long they serve, or by how old they are when they do.",
        tables=[
            Table([heading, report["metric"], "gain, 95 %"], staleness_rows(dict(report), kind))
            for kind, heading in shown.items()
        ],
        figures=[figure(partial(draw_staleness, report=report, kind=kind)) for kind in shown],
        command=_command(report, "mnet staleness RUN"),
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
        command=_command(report, "mnet cost RUN"),
    )


def _matrix(cells: Sequence[Mapping[str, Any]]) -> Section:
    return Section(
        title="Every model on every target",
        text="Exported, verified against eager PyTorch with 21 packs, and timed where this machine has the runtime.",
        tables=[Table(list(COLUMNS.values()), [cell_texts(cell) for cell in cells])],
        command=_command(cells[0], "mnet matrix RUN ... --out FOLDER"),
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
        command=_command(report, f"mnet growth --target {report['target']} --on {report['on']} -o FOLDER"),
    )


def _policies(report: Mapping[str, Any]) -> Section:
    missing = f" There is no policy `shift`: {report['no_shift']}." if report.get("no_shift") else ""
    return Section(
        title="When a phone should ask",
        text=(
            f"{report['phones']:,} test phones, each of which may ask whenever new weights could be made; never asking "
            f"keeps the default pack.{missing}"
        ),
        tables=[Table(policy_header(report), policy_rows(report))],
        figures=[figure(partial(draw_policies, report=report))],
        command=_command(report, "mnet policies RUN"),
    )


def _simulation(report: Mapping[str, Any]) -> Section:
    quality = report["quality"]
    curves = [
        Line("static model" if name == "static" else name, quality["turn"], quality[name])
        for name in ("static", *report["policies"])
    ]
    return Section(
        title="A fleet over time",
        text=(
            f"{report['devices']:,} phones replayed test users on a server ({report['server']}); "
            f"{len(report['faults'])} faults on purpose."
        ),
        tables=[
            Table(fleet_header(dict(report)), fleet_rows(dict(report))),
            Table(SWAP_HEADER, swap_rows(dict(report))),
        ],
        figures=[
            lines(
                curves, x="items taken by each user", y=report["metric"], mark=report["drift"], from_zero=True
            )
        ],
        command=_command(report, "mnet simulate RUN --bundle BUNDLE --out FOLDER"),
    )


def _room(report: Mapping[str, Any]) -> Section:
    return Section(
        title="What generation could gain at most",
        text=(
            f"Of {report['devices']} test devices, the static model under each one's true prior, and fine-tuned to "
            f"{report['samples']} labelled samples of it, part by part; judged on {report['judged']} others, ± "
            "standard error over devices."
        ),
        tables=[
            Table(
                ["fine-tuned with labels", report["metric"], "points over the true prior"], room_rows(report)
            )
        ],
        command=_command(report, "mnet room RUN"),
    )


def _faults(report: Sequence[Mapping[str, Any]]) -> Section:
    outcomes = read_outcomes(report)
    harmed = [outcome.fault for outcome in outcomes if not outcome.harmless]
    skipped = sum(outcome.skipped is not None for outcome in outcomes)
    found = f"Phones were harmed by {', '.join(harmed)}." if harmed else "None harmed a phone."
    return Section(
        title="What faults cost",
        text=(
            f"{len(outcomes) - skipped} faults on purpose, with real phones at a real server. {found} Lost are "
            "uploads that were accepted and gave no weights, wrong are answers of no version that was pushed; the last "
            "column is how long after the fault every phone ran its newest weights."
        ),
        tables=[Table(FAULTS_HEADER, fault_rows(outcomes))],
        command=_command(report[0], "mnet faults RUN -b BUNDLE -o FOLDER"),
    )


def bench_section(
    reports: Sequence[Mapping[str, Any]], figures: Sequence[str] = (), command: str = "mnet bench BUNDLE ..."
) -> Section:
    """What some `Bench.report` say swapping costs: a table with a column for each."""
    header, rows = bench_table(list(map(dict, reports)), ", ")
    # What ran on an attached phone says under which conditions, and not on which machine.
    machines = (report["machine"]["processor"] if "machine" in report else "a phone" for report in reports)
    places = " and ".join(dict.fromkeys(machines))
    return Section(
        title="What it costs on the device",
        text=(
            f"Timed on {places}: constant weights, constant weights again as a control, and swappable ones in turn in "
            "one process. Resident memory (RSS) in a process of its own. Where that is no phone, trust the ratios, not "
            "the microseconds."
        ),
        tables=[Table(header, rows)],
        figures=figures,
        command=command,
    )


def _bench(reports: Sequence[Mapping[str, Any]]) -> Section:
    return bench_section(reports, command=_command(reports[0], "mnet bench BUNDLE ... -o FOLDER"))


# In the order of the page.
SECTIONS: Mapping[str, Callable[[Any], Section]] = {
    "evaluation.json": _quality,
    "room.json": _room,
    "ablation.json": _ablation,
    "staleness.json": _staleness,
    "policies.json": _policies,
    "simulation.json": _simulation,
    "faults.json": _faults,
    "bench.json": _bench,
    "cost.json": _cost,
    "matrix.json": _matrix,
    "growth.json": _growth,
}
