"""`mnet tune`: choose the settings of every method by equal trials."""

from pathlib import Path
from typing import Annotated

import typer

from mnet.toolchain.cli._settings import read_settings
from mnet.toolchain.console import Printer, text_table

PANEL = "Train"


def command(
    config: Annotated[
        str, typer.Argument(help="A built-in config, as `movielens-100k/sasrec`, or a YAML file.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the trials; rerun with the same folder to resume.")],
    minutes: Annotated[
        float, typer.Option(min=0, help="Start no round of trials that would last longer, in all calls.")
    ] = 30.0,
    trials: Annotated[int | None, typer.Option(min=1, help="At most so many for each method.")] = None,
    data: Annotated[list[str] | None, typer.Option(help="`NAME=PATH`: where a data set lies.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="`a.b=value` over the config; repeatable.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Try learning rates, widths and the like for each method of a config, all with as many trials, on validation.

    Leaves a config with the best of them, `best.yaml`, for `mnet train`.

    Example: `mnet tune movielens-100k/gru4rec --data movielens-100k=u.data --out tuned --minutes 30`
    """
    settings = read_settings(config, data, set_)

    import json as json_format

    from mnet.toolchain.training.tune import tune, tune_rows, verdict

    report = tune(settings, out, minutes, trials, Printer(stderr=True))
    if json:
        print(json_format.dumps(report))
        return
    header = ("method", "trials", f"first {report['metric']}", "best", "settings")
    console = Printer()
    console.print(text_table(header, tune_rows(report)))
    if said := verdict(report):
        console.print(said)
    console.print(f"{report['seconds']:.0f} s; values on validation; mnet train {out / 'best.yaml'}")
