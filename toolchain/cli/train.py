"""`mnet train`: make a run."""

from pathlib import Path
from typing import Annotated

import typer

from mnet.toolchain.cli._settings import read_settings
from mnet.toolchain.console import Printer

PANEL = "Train"


def command(
    config: Annotated[
        str,
        typer.Argument(help="A built-in config (`mnet configs` lists them), or a YAML file."),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Run folder. Default: `runs/DATASET-MODEL-SEED`.")
    ] = None,
    data: Annotated[list[str] | None, typer.Option(help="`NAME=PATH`: where the data set lies.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="`section.key=value` over the config; repeatable.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the run, over that of the config.")] = None,
    accelerator: Annotated[
        str, typer.Option(help="`cpu`, `gpu`, or `auto`: a GPU if there is one.")
    ] = "auto",
    devices: Annotated[
        str, typer.Option(help="Accelerators: how many, `auto` for all, or a list, e.g. `0,2`.")
    ] = "1",
    strategy: Annotated[str, typer.Option(help="Lightning's strategy, e.g. `ddp`.")] = "auto",
    precision: Annotated[str, typer.Option(help="Lightning's precision, e.g. `bf16-mixed`.")] = "32-true",
    logger: Annotated[
        str,
        typer.Option(
            help="Where the curves go too: `csv` (only the run folder), `tensorboard`, `mlflow`, `wandb`."
        ),
    ] = "csv",
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Train a device model and its MetaNetwork. Rerun the same command to resume an interrupted run.

    Example: `mnet train movielens-100k/sasrec --data movielens-100k=ml-100k --out runs/ml`
    """
    settings = read_settings(config, data, set_, seed)

    import json as json_format

    from mnet.toolchain.training.hardware import Hardware, is_first_process
    from mnet.toolchain.training.recipe import train

    folder = out or Path("runs") / f"{settings.name.replace('/', '-')}-{settings.seed}"
    console = Printer(stderr=True, quiet=not is_first_process())
    metrics = train(settings, folder, console, Hardware(accelerator, devices, strategy, precision), logger)
    if json and is_first_process():
        print(json_format.dumps({"run": str(folder), "metrics": metrics}))
    else:
        console.print(f"run: {folder}")
