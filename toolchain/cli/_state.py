"""Where a server keeps what it keeps, as the verbs name it that work on it next to the server."""

from pathlib import Path
from typing import Annotated

import typer

State = Annotated[Path, typer.Option(help="The state folder of the server.")]
DatabaseUrl = Annotated[
    str | None,
    typer.Option(help="As for `mnet serve`. Default: in the state folder.", envvar="MNET_DATABASE"),
]
PacksUrl = Annotated[
    str | None,
    typer.Option(help="As for `mnet serve`. Default: in the state folder.", envvar="MNET_PACKS"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
