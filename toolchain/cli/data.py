"""`mnet data`: get and look at data sets."""

from pathlib import Path
from typing import Annotated

import typer

from mnet.toolchain.console import Printer

PANEL = "Train"

command = typer.Typer(help="Download data sets, and show what is in them.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="A data set, e.g. `movielens-100k`.")]


@command.command()
def get(name: Name) -> None:
    """Download a data set from its publisher and verify its checksum.

    Example: `mnet data get movielens-100k`
    """
    from mnet.toolchain.data import load_data_set
    from mnet.toolchain.data.download import folder_of

    load_data_set(name)
    folder = folder_of(name)
    where = f"is in {folder}" if folder.is_dir() else "needs no download"
    Printer(stderr=True).print(f"{name} {where}")


@command.command()
def show(
    name: Name,
    path: Annotated[
        Path | None, typer.Option(help="Where it lies. Default: the cache, after a download.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="File for a contact sheet of images. Default: `NAME.png`."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print sizes and examples as JSON.")] = False,
) -> None:
    """Print how large a data set is and what is in it.

    Example: `mnet data show movielens-100k`
    """
    import json as json_format

    from rich.table import Table

    from mnet.toolchain.data import Interactions, Pictures, load_data_set

    data = load_data_set(name, path)
    summary = data.summary()
    examples = data.examples() if isinstance(data, Interactions) else []
    sheet = out or Path(f"{name}.png")
    if isinstance(data, Pictures):
        data.contact_sheet(sheet)
    if json:
        print(json_format.dumps({"name": name, "summary": summary, "examples": examples}))
        return
    console = Printer()
    sizes = Table(title=name, show_header=False)
    for key, value in summary.items():
        sizes.add_row(key, f"{value:,}" if isinstance(value, int) else value)
    console.print(sizes)
    if examples:
        rows = Table(*examples[0], title="examples")
        for example in examples:
            rows.add_row(*example.values())
        console.print(rows)
    if isinstance(data, Pictures):
        console.print(f"contact sheet: {sheet}")
