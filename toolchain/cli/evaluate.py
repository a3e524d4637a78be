"""`mnet evaluate`: every method of a run side by side."""

from pathlib import Path
from typing import Annotated

import typer

COLUMNS = 6  # of further metrics, as many as a terminal shows


def command(
    runs: Annotated[list[Path], typer.Argument(help="One run, or several that differ in the seed alone.")],
    methods: Annotated[
        str, typer.Option(help="`all`, or names with commas between; the static model is always there.")
    ] = "all",
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Test finished runs: every method's figures, and its gain over the static model.

    Example: `mnet evaluate runs/movielens-100k-sasrec-0 runs/movielens-100k-sasrec-1 --methods metanetwork,cloud`
    """
    import json as json_format

    from rich.console import Console
    from rich.table import Table

    from toolchain.training.evaluate import evaluate
    from toolchain.training.gains import gain_text

    report = evaluate(runs, Console(stderr=True), methods)
    if json:
        print(json_format.dumps(report))
        return
    first, *others = report["metrics"]["static"]
    table = Table("method", first, "gain", "p", title=f"{report['dataset']}/{report['model']}")
    for method, values in report["metrics"].items():
        gain = report["gain"][method][first] if method != "static" else None
        figures = f"{values[first]['mean']:.4f} ± {values[first]['std']:.4f}"
        table.add_row(method, figures, *((gain_text(gain), f"{gain['p']:.4f}") if gain else ("", "")))
    console = Console()
    console.print(table)
    console.print(
        f"{report['queries']} queries; mean ± deviation over seeds {report['seeds']}; gains over static with their "
        "95 % interval over users, paired"
    )
    for start in range(0, len(others), COLUMNS):
        shown = others[start : start + COLUMNS]
        means = Table("mean", *shown)
        for method, values in report["metrics"].items():
            means.add_row(method, *(f"{values[metric]['mean']:.4f}" for metric in shown))
        console.print(means)
    if gap := report.get("recovered_gap", {}).get(first):
        console.print(f"of the gap between static and cloud model the MetaNetwork recovers {gap:.0%}")
