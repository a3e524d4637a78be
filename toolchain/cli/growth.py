"""`mnet growth`: how the cost of swapping grows with what is generated, and with the model around it."""

from pathlib import Path
from typing import Annotated

import typer

from mnet.toolchain.cli._early import check_targets
from mnet.toolchain.cli._place import Place
from mnet.toolchain.console import Bars, Printer, text_table

PANEL = "Measure"


def command(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for growth.json, growth.md and a plot.")],
    target: Annotated[
        str, typer.Option(help="Target that the synthetic models are exported for.")
    ] = "android",
    on: Annotated[
        Place,
        typer.Option(help="Where to measure: from Python, in C++ (`make native`), or on the attached phone."),
    ] = Place.HOST,
    swaps: Annotated[int, typer.Option(min=2, help="How many swaps to time for each model.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Measure how the cost of swapping grows with generated size, model size, history length and batch.

    It uses synthetic models and needs no run. For target `android` it measures both bindings, and compares them with
    the rule by which `mnet export` chooses.

    Example: `mnet growth --target android --on native -o growth`
    """
    check_targets(target)

    import json

    from mnet.export.bench.growth import against_the_rule, knees, measure_point, sweep
    from mnet.export.bench.growth_tables import growth_table, knee_lines, plot_growth
    from mnet.export.bench.latency import machine
    from mnet.export.bench.matrix import markdown_table
    from mnet.export.targets import load_target
    from mnet.toolchain.attached.native_runner import check_target
    from mnet.toolchain.training.report_file import write_report

    points = sweep(target)
    runtime = load_target(target).runtime()
    if on is not Place.HOST:
        check_target(target)
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    with Bars(Printer(stderr=True)) as progress:
        task = progress.add_task("exporting", total=len(points))
        for each in points:
            progress.update(task, description=f"{each} for {target}")
            rows.append(measure_point(each, target, lambda bundle: on.measure(bundle, swaps)))
            progress.advance(task)
    report = {
        "target": target,
        "runtime": f"{runtime.name} {runtime.version}",
        "on": str(on),
        "machine": machine(),
        "points": rows,
        "knees": knees(rows),
        "rule": against_the_rule(rows),
    }
    write_report(out / "growth.json", report)
    lines = knee_lines(report)
    header, cells = growth_table(rows)
    table = markdown_table(header, cells)
    (out / "growth.md").write_text(table + "\n" + "".join(f"- {line}\n" for line in lines), encoding="utf-8")
    plot_growth(rows, out / "growth.png")
    if as_json:
        print(json.dumps(report))
        return
    console = Printer()
    console.print(text_table(header, cells))
    for line in lines:
        console.print(line)
