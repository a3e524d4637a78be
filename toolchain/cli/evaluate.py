"""`mnet evaluate`: static model and MetaNetwork side by side."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    runs: Annotated[list[Path], typer.Argument(help="One run, or several that differ in the seed alone.")],
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Test finished runs: every method's figures, and the MetaNetwork's gain over the static model."""
    import json as json_format

    from rich.console import Console
    from rich.table import Table

    from toolchain.training.evaluate import evaluate, gain_text

    report = evaluate(runs, Console(stderr=True))
    if json:
        print(json_format.dumps(report))
        return
    metrics = list(next(iter(report["metrics"].values())))
    table = Table("method", *metrics, title=f"{report['dataset']}/{report['model']}, {report['protocol']}")
    for method, values in report["metrics"].items():
        table.add_row(method, *(f"{values[m]['mean']:.4f} ± {values[m]['std']:.4f}" for m in metrics))
    if "gain" in report:
        table.add_row("gain", *(gain_text(report["gain"][metric]) for metric in metrics))
    Console().print(table)
    Console().print(
        f"{report['queries']} queries, {report['ranking']} items ranked; mean ± deviation over seeds "
        f"{report['seeds']}; 95 % interval over users"
    )
