"""The Typer application, and the one place where a user's mistake becomes one line and exit code 2."""

import importlib
import pkgutil
import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

import mnet
import mnet.toolchain.cli
from mnet.export.format.errors import BundleError
from mnet.toolchain.errors import UserError

app = typer.Typer(
    name="mnet",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mnet {mnet.__version__}")
        raise typer.Exit()


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version),
    ] = False,
) -> None:
    """Personal models on phones without training on phones."""


# A verb is a module of this package with a `command`, a function or a group of them. Its top imports only typer and
# the standard library: torch and friends load inside the call, so that `mnet --help` stays quick.
for module in pkgutil.iter_modules(mnet.toolchain.cli.__path__):
    if module.name != "app" and not module.name.startswith("_"):
        command = importlib.import_module(f"mnet.toolchain.cli.{module.name}").command
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=module.name)
        else:
            app.command(module.name)(command)


def main() -> None:
    """Run `mnet`; print a `UserError` or `BundleError` as one line on stderr and exit with 2."""
    try:
        app()
    except (UserError, BundleError) as error:
        line = Text("error: ", "bold red") + Text(str(error))
        Console(stderr=True, highlight=False).print(line, soft_wrap=True)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
