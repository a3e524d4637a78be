"""`mnet matrix`: every model on every target, in one table."""

from pathlib import Path
from typing import Annotated

import typer

from mnet.toolchain.cli._early import check_runs, check_targets
from mnet.toolchain.console import Bars, Printer, text_table

PANEL = "Measure"


def command(
    runs: Annotated[list[Path], typer.Argument(help="Run folders, one for each model.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for the bundles, matrix.json and matrix.md.")
    ],
    target: Annotated[
        list[str] | None,
        typer.Option(help="Only these targets; repeatable. Default: all that are installed."),
    ] = None,
    swaps: Annotated[int, typer.Option(min=2, help="How many swaps to time in each cell.")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Export, verify and time each run's device model on each target.

    Example: `mnet matrix runs/sasrec runs/cnn --out matrix`
    """
    check_runs(*runs)
    check_targets(*(target or []))

    import json

    from mnet.export.bench.matrix import COLUMNS, cell_texts, markdown, measure_cell
    from mnet.export.targets import known_targets, load_target
    from mnet.toolchain.training.export_run import export_spec
    from mnet.toolchain.training.report_file import write_report
    from mnet.toolchain.training.run import load_run

    targets = target or [name for name, known in known_targets().items() if known.installed]
    for name in targets:
        load_target(name)
    specs = [export_spec(load_run(run)) for run in runs]
    out.mkdir(parents=True, exist_ok=True)
    cells = []
    with Bars(Printer(stderr=True)) as progress:
        for spec in specs:
            for name in targets:
                task = progress.add_task(f"{spec.name} for {name}", total=None)

                def stage(line: str, task: object = task, title: str = f"{spec.name} for {name}") -> None:
                    progress.update(task, description=f"{title}: {line}")  # type: ignore[arg-type]

                folder = out / f"{spec.name.replace('/', '-')}-{name}"
                cells.append(measure_cell(spec, name, folder, swaps, stage))
                progress.remove_task(task)
                write_report(out / "matrix.json", cells)
    (out / "matrix.md").write_text(markdown(cells), encoding="utf-8")
    if as_json:
        print(json.dumps(cells))
        return
    Printer().print(text_table(COLUMNS.values(), map(cell_texts, cells)))
