"""`mnet bench`: what swapping costs, here or on a phone."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mnet.toolchain.cli._early import check_bundles, check_runs
from mnet.toolchain.cli._place import Place
from mnet.toolchain.console import Bars, Printer, text_table

if TYPE_CHECKING:
    from mnet.export.bench.latency import Bench
    from mnet.export.format.bundle import Bundle

PANEL = "Measure"


def command(
    bundles: Annotated[list[Path], typer.Argument(help="Bundle folders that `mnet export` wrote.")],
    on: Annotated[
        Place,
        typer.Option(
            help="Where to measure: from Python, in C++ (`make native`), or on the attached phone, in C++ or in "
            "the demo app."
        ),
    ] = Place.HOST,
    swaps: Annotated[int, typer.Option(min=2, help="How many swaps to time for each bundle.")] = 200,
    threads: Annotated[
        str,
        typer.Option(
            help="Threads of an inference, e.g. `1,2,4`: one column each, measured in separate processes."
        ),
    ] = "1",
    against: Annotated[
        Path | None, typer.Option(help="Run folder with fine-tuning: time that too, for one user.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for bench.json and, on the host, plots.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the results as JSON, one object a column.")
    ] = False,
) -> None:
    """Time inference against the same model with constant weights, and time swaps and loading.

    The same run measures shipping a whole model instead of a push, and the memory of an instance.

    Example: `mnet bench bundles/ml bundles/ml-onnx --against runs/ml`
    """
    check_bundles(*bundles)
    check_runs(*([against] if against else []))

    import json

    from mnet.export.bench.latency_tables import bench_table
    from mnet.export.format.bundle import Bundle
    from mnet.toolchain.training.report_file import write_report

    counts = _counts(threads, on)
    if out:
        out.mkdir(parents=True, exist_ok=True)
    with Bars(Printer(stderr=True)) as progress:
        opened = [Bundle.load(bundle) for bundle in bundles]
        if on is Place.HOST:
            reports = _on_host(opened, swaps, counts, out, progress)
        else:
            tracked = progress.track(opened, description=f"measuring: {on}")
            reports = [on.measure(bundle, swaps) for bundle in tracked]
    if against:
        instead = _fine_tuning(against)
        reports = [report | {"fine_tuning": instead} for report in reports]
    if out:
        write_report(out / "bench.json", reports)
    if as_json:
        print(json.dumps(reports))
        return
    Printer().print(text_table(*bench_table(reports, "\n")))


def _counts(text: str, on: Place) -> list[int]:
    from mnet.toolchain.errors import UserError

    counts = [int(part) if part.strip().isdecimal() else 0 for part in text.split(",")]
    if min(counts) < 1 or len(set(counts)) < len(counts):
        raise UserError(f"--threads takes different numbers from 1, e.g. 1,2,4; not {text}")
    if on is not Place.HOST and counts != [1]:
        raise UserError(
            f"there an inference keeps to the thread that calls it: --threads {text} is for --on host"
        )
    return counts


def _on_host(
    bundles: "list[Bundle]", swaps: int, counts: list[int], out: Path | None, progress: Bars
) -> list[dict[str, Any]]:
    from mnet.export.bench.latency_tables import plot_benches
    from mnet.export.bench.memory import measure_memory

    columns = [(bundle, count) for bundle in bundles for count in counts]
    benches = [_bench(bundle, swaps, count, counts, progress) for bundle, count in columns]
    for (bundle, count), bench in zip(columns, benches, strict=True):
        bench.memory = measure_memory(bundle, count)
    if out:
        plot_benches(benches, [bundle for bundle, _ in columns], out / "bench.png")
    return [bench.report(bundle) for bench, (bundle, _) in zip(benches, columns, strict=True)]


def _bench(bundle: "Bundle", swaps: int, threads: int, counts: list[int], progress: Bars) -> "Bench":
    """One column; in this process, where a bar can show each swap, or in its own where threads vary."""
    from functools import partial

    from mnet.export.bench.isolated import run_isolated
    from mnet.export.bench.latency import bench_bundle

    title = f"{bundle.manifest.model.name} for {bundle.manifest.target}"
    if counts == [1]:
        task = progress.add_task(title, total=swaps)
        return bench_bundle(bundle, swaps, partial(progress.advance, task))
    task = progress.add_task(f"{title}, threads: {threads}", total=1)
    bench = run_isolated(bench_bundle, bundle, swaps, threads=threads)
    progress.advance(task)
    return bench


def _fine_tuning(run: Path) -> dict[str, Any]:
    from mnet.toolchain.training.cost import ROUNDS, cost_of_adapting

    return cost_of_adapting(run, ROUNDS, Printer(stderr=True))
