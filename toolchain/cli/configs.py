"""`mnet configs`: the built-in configs."""

import json
import shutil
from pathlib import Path
from typing import Annotated

import typer

from mnet.toolchain.console import Printer

PANEL = "Train"

command = typer.Typer(help="List the built-in configs, or copy one to change it.")


@command.callback(invoke_without_command=True)
def list_(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """List the built-in configs, or copy one to change it.

    Example: `mnet configs`
    """
    from mnet.toolchain.training.config import builtin_configs

    if context.invoked_subcommand is None:
        names = builtin_configs()
        if as_json:
            print(json.dumps(names))
        else:
            Printer().print("\n".join(names))


@command.command()
def copy(
    name: Annotated[str, typer.Argument(help="A built-in config, e.g. `movielens-100k/sasrec`.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The file to write. Default: its name, here.")
    ] = None,
) -> None:
    """Copy a built-in config into a file of your own, for `mnet train FILE`.

    Example: `mnet configs copy movielens-100k/sasrec -o mine.yaml`
    """
    from mnet.toolchain.errors import UserError
    from mnet.toolchain.training.config import CONFIGS, builtin_configs
    from mnet.toolchain.training.known_parts import did_you_mean

    known = builtin_configs()
    if name not in known:
        raise UserError(f"no config {name!r}{did_you_mean(name, known)}; there are {', '.join(known)}")
    file = out or Path(f"{name.replace('/', '-')}.yaml")
    if file.exists():
        raise UserError(f"{file} is there already: give another file as --out")
    shutil.copyfile(CONFIGS / f"{name}.yaml", file)
    Printer().print(f"{file}; next: mnet train {file}")
