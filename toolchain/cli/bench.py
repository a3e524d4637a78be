"""`mnet bench`: what swapping costs on this machine."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.table import Table


def command(
    bundle: Annotated[Path, typer.Argument(help="Bundle folder that `mnet export` made.")],
    swaps: Annotated[int, typer.Option(min=2, help="How many swaps to time.")] = 200,
    out: Annotated[Path | None, typer.Option(help="Folder for bench.json and bench.png.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Time inference beside the same model with constant weights, and swaps; compare with eager PyTorch."""
    import json

    from rich.console import Console
    from rich.progress import Progress

    from export.bench import bench_bundle, plot_bench
    from export.bundle import Bundle

    loaded = Bundle.load(bundle)
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("swapping and inferring", total=swaps)
        bench = bench_bundle(loaded, swaps, step=lambda: progress.advance(task))
    report = bench.report(loaded)
    if out:
        out.mkdir(parents=True, exist_ok=True)
        (out / "bench.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        plot_bench(bench, out / "bench.png")
    if as_json:
        print(json.dumps(report))
    else:
        Console().print(_table(report))


def _table(report: dict[str, Any]) -> "Table":
    from rich.table import Table

    from export.bench import bench_rows

    title = f"{report['model']} on {report['runtime']}, target {report['target']}"
    table = Table("figure", "value", title=title)
    for name, value in bench_rows(report):
        table.add_row(name, value)
    return table
