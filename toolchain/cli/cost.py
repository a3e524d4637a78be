"""`mnet cost`: what training and adapting cost, method against method."""

from pathlib import Path
from typing import Annotated

import typer

from mnet.toolchain.cli._early import check_runs
from mnet.toolchain.console import Printer

PANEL = "Measure"


def command(
    run: Annotated[Path, typer.Argument(help="Run folder that `mnet train` wrote.")],
    rounds: Annotated[int, typer.Option(min=1, help="How many times to time each method.")] = 20,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Time how fast each method of a run trains, and how long it takes to adapt to one user.

    Example: `mnet cost runs/movielens-100k-sasrec-0`
    """
    check_runs(run)

    import json as json_format

    from rich.table import Table

    from mnet.toolchain.training.cost import cost

    report = cost(run, rounds, Printer(stderr=True))
    if json:
        print(json_format.dumps(report))
        return
    console = Printer()
    static = report["training"]["static"]
    training = Table("method", "training, samples/s", "of static")
    for name, speed in report["training"].items():
        training.add_row(name, f"{speed:,.0f}", f"{speed / static:.2f}")
    console.print(training)
    if adaptation := report.get("adaptation"):
        table = Table("devices at a time", "generation", f"fine-tuning, {adaptation['steps']} steps", "ratio")
        for count, row in adaptation["devices"].items():
            times = (f"{row[name]:.3f} ms" for name in ("generation_ms", "fine_tuning_ms"))
            table.add_row(count, *times, f"{row['ratio']:,.0f}")
        console.print(table)
    console.print(f"{report['threads']} threads; adapting: median for one device")
