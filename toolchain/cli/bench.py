"""`mnet bench`: what swapping costs, here or on a phone."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.progress import Progress

    from export.bundle import Bundle


class Place(StrEnum):
    """Where to measure."""

    HOST = "host"
    NATIVE = "native"
    ADB = "adb"


def command(
    bundles: Annotated[list[Path], typer.Argument(help="Bundle folders that `mnet export` made.")],
    on: Annotated[
        Place,
        typer.Option(help="Here from Python, here in native code (`make native`), or on the attached phone."),
    ] = Place.HOST,
    swaps: Annotated[int, typer.Option(min=2, help="How many swaps to time for each bundle.")] = 200,
    against: Annotated[
        Path | None, typer.Option(help="Run folder with fine-tuning: also time that, for one user.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for bench.json and, on the host, a plot of each.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the results as JSON, one object a bundle.")
    ] = False,
) -> None:
    """Time inference beside the same model with constant weights, swaps and loading; compare with eager PyTorch.

    Example: `mnet bench bundles/ml bundles/ml-onnx --against runs/ml`
    """
    import json

    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table

    from export.bench import bench_rows
    from export.bundle import Bundle

    if out:
        out.mkdir(parents=True, exist_ok=True)
    with Progress(console=Console(stderr=True)) as progress:
        reports = _measure([Bundle.load(bundle) for bundle in bundles], on, swaps, out, progress)
    if against:
        instead = _fine_tuning(against)
        reports = [report | {"fine_tuning": instead} for report in reports]
    if out:
        (out / "bench.json").write_text(json.dumps(reports, indent=2) + "\n", encoding="utf-8")
    if as_json:
        print(json.dumps(reports))
        return
    table = Table("", *(f"{report['model']}\n{report['target']}\n{report['runtime']}" for report in reports))
    for cells in zip(*map(bench_rows, reports), strict=True):
        table.add_row(cells[0][0], *(value for _, value in cells))
    Console(markup=False).print(table)


def _measure(
    bundles: "list[Bundle]", on: Place, swaps: int, out: Path | None, progress: "Progress"
) -> list[dict[str, Any]]:
    from functools import partial

    from export.bench import bench_bundle, plot_benches
    from toolchain.fleet.runner import bench_native, bench_on_phone

    if on is not Place.HOST:
        measure = bench_native if on is Place.NATIVE else bench_on_phone
        return [
            measure(bundle, swaps) for bundle in progress.track(bundles, description=f"mnet-runner on {on}")
        ]
    benches = []
    for bundle in bundles:
        task = progress.add_task(f"{bundle.manifest.model.name} for {bundle.manifest.target}", total=swaps)
        benches.append(bench_bundle(bundle, swaps, partial(progress.advance, task)))
    if out:
        plot_benches(benches, bundles, out / "bench.png")
    return [bench.report(bundle) for bench, bundle in zip(benches, bundles, strict=True)]


def _fine_tuning(run: Path) -> dict[str, Any]:
    from rich.console import Console

    from toolchain.training.cost import ROUNDS, cost_of_adapting

    return cost_of_adapting(run, ROUNDS, Console(stderr=True))
