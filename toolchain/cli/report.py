"""`mnet report`: one page of what was measured."""

from pathlib import Path
from typing import Annotated

import typer

from mnet.toolchain.console import Bars, Printer

PANEL = "Measure"


def command(
    folders: Annotated[
        list[Path],
        typer.Argument(
            help="Bundles, and folders in which evaluate, room, ablate, staleness, policies, simulate, faults, "
            "bench, cost, matrix or growth wrote results."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The HTML file.")] = Path("report.html"),
    swaps: Annotated[int, typer.Option(min=2, help="How many swaps to time for each bundle.")] = 200,
) -> None:
    """Write one self-contained HTML page of quality, cost, and the command behind each figure.

    With two device models or more of a data set, each as an evaluated run and its bundle, it draws quality against
    bytes and microseconds on the device.

    Example: `mnet report runs/ml runs/ml-ablation bundles/ml -o report.html`
    """
    from mnet.export.bench.latency import bench_bundle
    from mnet.export.bench.memory import measure_memory
    from mnet.export.format.bundle import Bundle
    from mnet.export.format.manifest import MANIFEST_FILE
    from mnet.toolchain.report.measured import measured_page

    bundles = [Bundle.load(folder) for folder in folders if (folder / MANIFEST_FILE).is_file()]
    runs = [folder for folder in folders if not (folder / MANIFEST_FILE).is_file()]
    measured_page(runs, ())  # reports what is wrong with a folder before anything slow
    with Bars(Printer(stderr=True)) as progress:
        task = progress.add_task("timing swaps", total=swaps * len(bundles))
        benches = [bench_bundle(bundle, swaps, lambda: progress.advance(task)) for bundle in bundles]
    for bench, bundle in zip(benches, bundles, strict=True):
        bench.memory = measure_memory(bundle)
    benched = [
        (bench, bench.report(bundle) | {"generator": bundle.manifest.model.metadata.get("generator")})
        for bench, bundle in zip(benches, bundles, strict=True)
    ]
    out.write_text(measured_page(runs, benched).html(), encoding="utf-8")
    typer.echo(f"report: {out}")
