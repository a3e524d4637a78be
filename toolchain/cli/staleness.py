"""`mnet staleness`: how often must a phone ask?"""

from pathlib import Path
from typing import Annotated

import typer

from mnet.toolchain.cli._early import check_runs
from mnet.toolchain.cli._table import text_table


def command(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    every: Annotated[
        str, typer.Option(help="Interactions between two pushes, a comma between two numbers.")
    ] = "1,2,5,10,20,50,100",
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Test a run with packs of different ages; leaves staleness.json and staleness.png in its folder.

    Example: `mnet staleness runs/movielens-100k-sasrec-0 --every 1,10,100`
    """
    check_runs(run)

    import json as json_format

    from rich.console import Console

    from mnet.toolchain.errors import UserError
    from mnet.toolchain.training.staleness import staleness, staleness_rows

    try:
        steps = [int(step) for step in every.split(",")]
    except ValueError:
        raise UserError(f"--every {every}: expected numbers with commas between, as 1,10,100") from None
    if min(steps) < 1:
        raise UserError(f"--every {every}: a pack serves at least one interaction")
    report = staleness(run, steps, Console(stderr=True))
    if json:
        print(json_format.dumps(report))
        return
    header = ("interactions a pack serves", report["metric"], "gain over static, 95 % over users")
    Console().print(text_table(header, staleness_rows(report)))
