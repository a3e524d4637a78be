"""The Typer application and the one place where a user's mistake becomes one line and exit code 2."""

import importlib
import sys

import typer
from rich.console import Console

VERBS = ("train", "evaluate", "export", "verify", "bench", "serve", "device", "push", "demo")

app = typer.Typer(
    name="mnet",
    help="Personal models on phones without training on phones.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
for verb in VERBS:
    # A verb's module imports only typer at its top; torch and friends load inside the call, so `--help` stays quick.
    app.command(verb)(importlib.import_module(f"toolchain.cli.{verb}").command)


def main() -> None:
    """Run `mnet`; print `UserError` and `BundleError` as one line on stderr and exit with 2."""
    from export.errors import BundleError
    from toolchain.errors import UserError

    try:
        app()
    except (UserError, BundleError) as error:
        Console(stderr=True, highlight=False).print(f"[bold red]error:[/] {error}", soft_wrap=True)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
