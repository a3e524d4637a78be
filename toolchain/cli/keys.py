"""`mnet keys`: the keys of a server, and the tokens of its phones."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Action(StrEnum):
    """What to do with the keys."""

    CREATE = "create"
    LIST = "list"
    ROTATE = "rotate"
    RETIRE = "retire"


def command(
    action: Annotated[
        Action,
        typer.Argument(
            help="create: a folder of keys, for every replica. list: the names of the signing keys. "
            "rotate: a new signing key; the one before vouches for it. "
            "retire: delete those before, when every phone has been heard of since."
        ),
    ],
    state: Annotated[Path, typer.Option(help="The state folder of the server.")],
) -> None:
    """Create, list, rotate and retire a server's keys. A running server reads them anew at SIGHUP."""
    from rich.console import Console

    from toolchain.cloud.keys import Keyring, retire, rotate
    from toolchain.cloud.server import ServerState

    console = Console(highlight=False)
    keys = ServerState.open(state).keys if action is Action.CREATE else ServerState(state).keys
    if action is Action.ROTATE:
        rotate(keys)
    elif action is Action.RETIRE:
        for kid in retire(keys):
            console.print(f"retired   {kid}", soft_wrap=True)
    keyring = Keyring.load(keys)
    console.print(f"signing   {keyring.signing.kid}", soft_wrap=True)
    for key in keyring.retiring:
        console.print(f"vouching  {key.kid}", soft_wrap=True)
