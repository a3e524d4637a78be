"""`mnet check`: what works where, before anything is trained."""

from typing import Annotated

import typer

from mnet.toolchain.cli._own import OWN_ONLY, Dynamic, Example, Generated, Inputs, Lora, Weights, check_own
from mnet.toolchain.cli._settings import read_settings
from mnet.toolchain.console import Printer, Stages
from mnet.toolchain.errors import UserError

PANEL = "Train"


def command(
    what: Annotated[
        str,
        typer.Argument(
            metavar="CONFIG|MODULE",
            help="A built-in config (`mnet configs` lists them), a YAML file, or `package.module:build`.",
        ),
    ],
    target: Annotated[
        str, typer.Option(help="Targets to try the export for: a comma-separated list, `all`, or `none`.")
    ] = "all",
    weights: Weights = None,
    generated: Generated = None,
    lora: Lora = None,
    example: Example = None,
    input_: Inputs = None,
    dynamic: Dynamic = None,
    data: Annotated[list[str] | None, typer.Option(help="`NAME=PATH`: where the data set lies.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="`section.key=value` over the config; repeatable.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Check a config, with random weights, or a module of your own, in training and on each target.

    It is exported for each and verified there; packs of a config's MetaNetwork are made and swapped in as well.

    It takes a minute or two and trains nothing. The exit code is 1 if anything is refused or fails.

    Examples: `mnet check movielens-100k/sasrec --data movielens-100k=ml-100k`

    `mnet check nets:build --generated 'head.*' --example nets:example`
    """
    from mnet.toolchain.own_module import is_reference

    own = is_reference(what)
    if own:
        check_own(weights, generated, lora, example, input_)
        if data or set_:
            raise UserError("--data and --set are for a config; a module of your own has neither")
    elif weights or generated or lora or example or input_:
        raise UserError(OWN_ONLY.format(other="a config"))
    settings = None if own else read_settings(what, data, set_)

    from rich.table import Table
    from rich.text import Text

    from mnet.export.lowering.dynamic import parse_bounds
    from mnet.export.targets import find_target, known_targets
    from mnet.toolchain.cloud.trial import as_json as json_of
    from mnet.toolchain.cloud.trial import trial, trial_module

    if target == "all":
        targets = [name for name, known in known_targets().items() if known.installed]
    else:
        targets = [] if target == "none" else [name.strip() for name in target.split(",")]
        for name in targets:
            find_target(name)
    sizes = parse_bounds(dynamic or [])
    with Stages(Printer(stderr=True)) as stages:
        if settings is None:
            from mnet.toolchain.own_module import own_spec

            stages.stage("loading the module")
            spec = own_spec(what, weights, generated or [], lora, example, input_ or [], sizes)
            rows = trial_module(spec, targets, stages.stage)
        else:
            rows = trial(settings, targets, stages.stage, sizes)
        stages.finish()
    if as_json:
        print(json_of(rows))
    else:
        table = Table(
            "check",
            "verdict",
            "found",
            "seconds",
            title=what if settings is None else f"{settings.name}, with random weights",
        )
        for row in rows:
            style = "green" if row.verdict == "right" else "bold red"
            table.add_row(row.check, Text(row.verdict, style), Text(row.found), f"{row.seconds:.1f}")
        Printer().print(table)
    if any(row.verdict != "right" for row in rows):
        raise typer.Exit(1)
