"""`mnet room`: what could generation win at most?"""

from pathlib import Path
from typing import Annotated

import typer

from mnet.toolchain.cli._early import check_runs
from mnet.toolchain.console import Printer, text_table

PANEL = "Measure"


def command(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    devices: Annotated[int, typer.Option(min=2, help="How many test devices to fine-tune to.")] = 24,
    samples: Annotated[int, typer.Option(min=64, help="Labelled samples that each of them has.")] = 1024,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Measure the room: what an oracle gains that knows a device's true prior and has labelled samples of its own.

    The static model is fine-tuned to each device, part by part; leaves room.json in the run's folder.

    Example: `mnet room runs/cifar10-micro-0 --devices 24`
    """
    check_runs(run)

    import json as json_format

    from mnet.toolchain.training.room import room, room_rows

    report = room(run, devices, samples, Printer(stderr=True))
    if json:
        print(json_format.dumps(report))
        return
    console = Printer()
    header = ("fine-tuned with labels", report["metric"], "points over the true prior")
    console.print(text_table(header, room_rows(report)))
    console.print(
        f"{report['devices']} test devices, {report['samples']} labelled samples each, judged on {report['judged']}; "
        "± standard error over devices"
    )
