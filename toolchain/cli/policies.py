"""`mnet policies`: when should a phone ask?"""

from pathlib import Path
from typing import Annotated

import typer

from mnet.toolchain.cli._early import check_runs
from mnet.toolchain.console import Printer, text_table

PANEL = "Measure"


def command(
    run: Annotated[Path, typer.Argument(help="Run folder that `mnet train` wrote.")],
    every: Annotated[list[int], typer.Option(min=1, help="Ask at each N-th chance; repeatable.")] = [2, 4, 8],  # noqa: B006
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Compare request policies: the quality and the bytes of asking always, every N times, or when a user has shifted.

    A phone may ask whenever the run's protocol would give it a new pack. The run folder gets policies.json and
    policies.png.

    Example: `mnet policies runs/movielens-100k-sasrec-0`
    """
    check_runs(run)

    import json as json_format

    from mnet.toolchain.training.compare_policies import policies, policy_header, policy_rows

    report = policies(run, every, Printer(stderr=True))
    if json:
        print(json_format.dumps(report))
        return
    Printer().print(text_table(policy_header(report), policy_rows(report)))
    if missing := report.get("no_shift"):
        Printer(stderr=True).print(f"no policy shift: {missing}")
