"""`mnet staleness`: how often must a phone ask?"""

from pathlib import Path
from typing import Annotated

import typer

from mnet.toolchain.cli._early import check_runs
from mnet.toolchain.console import Printer, text_table

PANEL = "Measure"


def command(
    run: Annotated[Path, typer.Argument(help="Run folder that `mnet train` wrote.")],
    every: Annotated[
        str, typer.Option(help="Interactions between two pushes, a comma-separated list.")
    ] = "1,2,5,10,20,50,100",
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Measure how quality falls with the age of a pack. The run folder gets staleness.json and staleness.png.

    Packs of the MetaNetwork age by the interactions that they serve; world packs by time, from this moment to a week.

    Example: `mnet staleness runs/movielens-100k-sasrec-0 --every 1,10,100`
    """
    check_runs(run)

    import json as json_format

    from mnet.toolchain.errors import UserError
    from mnet.toolchain.training.staleness import staleness, staleness_rows

    try:
        steps = [int(step) for step in every.split(",")]
    except ValueError:
        raise UserError(
            f"--every {every}: expected a comma-separated list of numbers, e.g. 1,10,100"
        ) from None
    if min(steps) < 1:
        raise UserError(f"--every {every}: a pack serves at least one interaction")
    report = staleness(run, steps, Printer(stderr=True))
    if json:
        print(json_format.dumps(report))
        return
    for kind, name in (("curve", "interactions a pack serves"), ("age", "age of a world pack")):
        if report[kind]:
            header = (name, report["metric"], "gain over static, 95 % over users")
            Printer().print(text_table(header, staleness_rows(report, kind)))
