"""`mnet ablate`: what is each part of the stabilizer worth?"""

from pathlib import Path
from typing import Annotated

import typer

from mnet.toolchain.cli._settings import read_settings
from mnet.toolchain.console import Printer, text_table

PANEL = "Train"


def command(
    config: Annotated[
        str,
        typer.Argument(help="A built-in config (`mnet configs` lists them), or a YAML file."),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder. Default: `runs/DATASET-MODEL-ablation-SEED`.")
    ] = None,
    data: Annotated[list[str] | None, typer.Option(help="`NAME=PATH`: where the data set lies.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="`section.key=value` over the config; repeatable.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the fits, over that of the config.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Train with none, each and all of the stabilizer's parts. Rerun to resume.

    Example: `mnet ablate movielens-100k/sasrec --data movielens-100k=ml-100k`
    """
    settings = read_settings(config, data, set_, seed)

    import json as json_format

    from mnet.toolchain.training.ablation import ablate, ablation_table

    folder = out or Path("runs") / f"{settings.name.replace('/', '-')}-ablation-{settings.seed}"
    report = ablate(settings, folder, Printer(stderr=True))
    if json:
        print(json_format.dumps(report))
        return
    console = Printer()
    console.print(text_table(*ablation_table(report)))
    console.print(
        f"change of weights, changed lists: when one sample enters the context; plot: {folder}/ablation.png"
    )
