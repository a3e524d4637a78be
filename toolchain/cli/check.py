"""`mnet check`: what works where, before anything is trained."""

from typing import Annotated

import typer

from mnet.toolchain.cli._settings import read_settings
from mnet.toolchain.console import Printer, Stages

PANEL = "Train"


def command(
    config: Annotated[
        str, typer.Argument(help="A built-in config (`mnet configs` lists them), or a YAML file.")
    ],
    target: Annotated[
        str, typer.Option(help="Targets to try the export for: a comma-separated list, `all`, or `none`.")
    ] = "all",
    data: Annotated[list[str] | None, typer.Option(help="`NAME=PATH`: where the data set lies.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="`section.key=value` over the config; repeatable.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Check a config with random weights: its model in training, and exported, verified and served on each target.

    It takes a minute or two and trains nothing. The exit code is 1 if anything is refused or fails.

    Example: `mnet check movielens-100k/sasrec --data movielens-100k=ml-100k`
    """
    settings = read_settings(config, data, set_)

    from rich.table import Table
    from rich.text import Text

    from mnet.export.targets import find_target, known_targets
    from mnet.toolchain.cloud.trial import as_json as json_of
    from mnet.toolchain.cloud.trial import trial

    if target == "all":
        targets = [name for name, known in known_targets().items() if known.installed]
    else:
        targets = [] if target == "none" else [name.strip() for name in target.split(",")]
        for name in targets:
            find_target(name)
    with Stages(Printer(stderr=True)) as stages:
        rows = trial(settings, targets, stages.stage)
        stages.finish()
    if as_json:
        print(json_of(rows))
    else:
        table = Table("check", "verdict", "found", "seconds", title=f"{settings.name}, with random weights")
        for row in rows:
            style = "green" if row.verdict == "right" else "bold red"
            table.add_row(row.check, Text(row.verdict, style), Text(row.found), f"{row.seconds:.1f}")
        Printer().print(table)
    if any(row.verdict != "right" for row in rows):
        raise typer.Exit(1)
