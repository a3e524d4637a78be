"""`mnet --help` is quick, and the help of each command shows how it is called."""

import re
import subprocess
import sys

import pytest
import typer

import mnet
from mnet.toolchain.cli.app import app


def commands(of: typer.Typer, path: str) -> dict[str, str]:
    """The help of each command, by how it is called."""
    found = {}
    for command in of.registered_commands:
        assert command.callback
        name = command.name or command.callback.__name__
        found[f"{path} {name}"] = command.callback.__doc__ or ""
    for group in of.registered_groups:
        assert group.typer_instance
        found |= commands(group.typer_instance, f"{path} {group.name}")
    return found


@pytest.mark.parametrize(("call", "text"), commands(app, "mnet").items())
def test_the_help_shows_an_example(call: str, text: str) -> None:
    assert re.search(f"Examples?: `{call} ?", text)


def test_the_help_imports_nothing_heavy() -> None:
    heavy = {"torch", "numpy", "pandas", "fastapi", "matplotlib", "executorch"}
    code = f"import sys, mnet.toolchain.cli.app; print({heavy!r} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"


def test_the_version_is_that_of_the_package() -> None:
    printed = subprocess.check_output([sys.executable, "-m", "mnet.toolchain.cli", "--version"], text=True)
    assert printed == f"mnet {mnet.__version__}\n"
