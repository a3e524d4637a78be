"""What the verbs of operators have in common: which server, by which key, and a question before many phones change."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mnet.toolchain.cloud.operator_client import Operator

Server = Annotated[str, typer.Option(help="URL of the server.", envvar="MNET_SERVER")]
OperatorKey = Annotated[
    Path, typer.Option(help="The server's operator key file.", envvar="MNET_OPERATOR_KEY")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; needed where nobody can answer.")]


def connect(server: str, operator_key: Path) -> "Operator":
    """A connection of the operator's. Raises UserError for a URL or a key that is none."""
    from mnet.toolchain.cloud.operator_client import Operator
    from mnet.toolchain.cloud.signing_keys import read_key

    return Operator(server, read_key(operator_key))


def confirm(what: str, yes: bool) -> None:
    """Go on only if a person says so. Raises UserError where nobody can be asked, typer.Abort for a no."""
    from mnet.toolchain.errors import UserError

    if yes:
        return
    if not sys.stdin.isatty():
        raise UserError(f"{what} Nothing was done: nobody can be asked here; give --yes to go ahead")
    typer.confirm(f"{what} Continue?", abort=True, err=True)
