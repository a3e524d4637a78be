"""`mnet init`: a folder to start from."""

import json
from pathlib import Path
from typing import Annotated

import typer

from mnet.toolchain.console import Printer

PANEL = "Train"


def command(
    folder: Annotated[Path, typer.Argument(help="The folder to create.", metavar="NAME")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Create a folder to start from: a model, data, a config and a test that train, export and verify.

    Example: `mnet init shop`
    """
    from mnet.toolchain.starter import write_starter

    names = write_starter(folder)
    if as_json:
        print(json.dumps({"folder": str(folder), "files": names}))
        return
    Printer().print(f"created {folder}: {', '.join(names)}")
    Printer().print(f"next: cd {folder} && mnet train config.yaml --out runs/first")
