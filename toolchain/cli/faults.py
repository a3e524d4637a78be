"""`mnet faults`: what do faults cost?"""

from pathlib import Path
from typing import Annotated

import typer

from mnet.toolchain.cli._early import check_bundles, check_runs
from mnet.toolchain.console import Printer, text_table, track

PANEL = "Measure"


def command(
    run: Annotated[Path, typer.Argument(help="Run folder that `mnet train` wrote.")],
    bundle: Annotated[Path, typer.Option("--bundle", "-b", help="The bundle that the phones run.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for faults.json and faults.png.")],
    phones: Annotated[int, typer.Option(min=1, help="How many phones, each with its own session.")] = 6,
    seed: Annotated[int, typer.Option(help="Seed of contexts and of damaged bytes.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Break what phones depend on, one fault after the other, and report what each fault cost.

    It starts its own server. The exit code is 1 if a fault cost more than time.

    Example: `mnet faults runs/ml -b bundles/ml -o faults`
    """
    check_runs(run)
    check_bundles(bundle)

    import json as json_format
    from tempfile import TemporaryDirectory

    import torch

    from mnet.export.format.bundle import Bundle
    from mnet.toolchain.fleet.faults import FAULTS_HEADER, Trial, fault_report, fault_rows, plot_faults
    from mnet.toolchain.training.report_file import write_report
    from mnet.toolchain.training.run import load_run

    torch.set_num_threads(1)
    out.mkdir(parents=True, exist_ok=True)
    with (
        TemporaryDirectory(prefix="mnet-faults-") as folder,
        Trial(load_run(run), Bundle.load(bundle), Path(folder), phones, seed) as trial,
    ):
        outcomes = [
            trial.outcome(fault) for fault in track(trial.faults, "faults", console=Printer(stderr=True))
        ]
    report = fault_report(outcomes)
    write_report(out / "faults.json", report)
    plot_faults(outcomes, out / "faults.png")
    if json:
        print(json_format.dumps(report))
    else:
        Printer().print(text_table(FAULTS_HEADER, fault_rows(outcomes)))
    if not all(outcome.harmless for outcome in outcomes):
        raise typer.Exit(1)
