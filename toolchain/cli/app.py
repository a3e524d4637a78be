"""The Typer application, and the one place where a user's mistake becomes one line and exit code 2."""

import importlib
import os
import pkgutil
import sys
from typing import Annotated, NoReturn

import typer
from rich.text import Text

import mnet
import mnet.toolchain.cli
from mnet.export.format.errors import BundleError
from mnet.toolchain.console import Printer
from mnet.toolchain.errors import UserError

PANELS = ("Train", "Export", "Serve", "Operate", "Measure")

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
    trust_code: Annotated[
        bool,
        typer.Option(
            "--trust-code",
            help="Run the code that the config of a run names, though the run was not begun on this machine.",
            envvar="MNET_TRUST_CODE",
        ),
    ] = False,
) -> None:
    """Hot-swap weights on phones: train, generate, export, serve, push and measure."""
    if trust_code:
        os.environ["MNET_TRUST_CODE"] = "1"  # for the processes that a verb starts, too


# A verb is a module of this package with a `command`, a function or a group of them, and the `PANEL` of the help in
# which it stands. Its top imports only typer, the console and the standard library: torch and friends load inside the
# call, so that `mnet --help` stays quick.
def _add_verbs() -> None:
    names = [module.name for module in pkgutil.iter_modules(mnet.toolchain.cli.__path__)]
    verbs = {
        name: importlib.import_module(f"mnet.toolchain.cli.{name}")
        for name in names
        if name != "app" and not name.startswith("_")
    }
    for name, verb in sorted(verbs.items(), key=lambda item: PANELS.index(item[1].PANEL)):
        if isinstance(verb.command, typer.Typer):
            app.add_typer(verb.command, name=name, rich_help_panel=verb.PANEL)
        else:
            app.command(name, rich_help_panel=verb.PANEL)(verb.command)


_add_verbs()


def main() -> None:
    """Run `mnet`. A mistake of the user, and a file that cannot be written or read, is one line and exit code 2."""
    try:
        app()
    except (UserError, BundleError) as error:
        _fail(str(error))
    except BrokenPipeError:  # whoever read the output has gone, as `mnet … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(2)
    except OSError as error:
        _fail(_what_failed(error))
    except RecursionError:
        _fail("the input is nested too deeply to be read")
    except KeyboardInterrupt:
        sys.exit(130)


def _fail(reason: str) -> NoReturn:
    Printer(stderr=True).print(Text("error: ", "bold red") + Text(" ".join(reason.split())))
    sys.exit(2)


def _what_failed(error: OSError) -> str:
    """What the system says, and of which file."""
    places = [str(place) for place in (error.filename, error.filename2) if place is not None]
    return ": ".join((" -> ".join(places), error.strerror)) if places and error.strerror else str(error)
