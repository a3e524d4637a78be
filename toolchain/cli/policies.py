"""`mnet policies`: when should a phone ask?"""

from pathlib import Path
from typing import Annotated

import typer

from mnet.toolchain.cli._early import check_runs
from mnet.toolchain.cli._table import text_table


def command(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    every: Annotated[
        list[int], typer.Option(min=1, help="Test `every N` too: ask at each N-th chance; repeatable.")
    ] = [2, 4, 8],  # noqa: B006
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Test quality against bytes of each request policy; leaves policies.json and policies.png in the run's folder.

    A phone has a chance to ask whenever the run's protocol would give it a new pack.

    Example: `mnet policies runs/movielens-100k-sasrec-0`
    """
    check_runs(run)

    import json as json_format

    from rich.console import Console

    from mnet.toolchain.training.compare_policies import policies, policy_rows

    report = policies(run, every, Console(stderr=True))
    if json:
        print(json_format.dumps(report))
        return
    headings = ("policy", "requests a phone", "kB", "of always", report["metric"], "gain over never", "kept")
    Console().print(text_table(headings, policy_rows(report)))
