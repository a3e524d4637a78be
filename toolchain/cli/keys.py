"""`mnet keys`: the keys of a server."""

from pathlib import Path
from typing import Annotated

import typer

PANEL = "Serve"

command = typer.Typer(
    help="Create, list, rotate and retire the keys of a server, which reloads them at SIGHUP.",
    no_args_is_help=True,
)

State = Annotated[Path, typer.Option(help="The state folder of the server.")]


@command.command()
def create(state: State) -> None:
    """Create the keys that are missing: signing, enrolment and operator key, shared by all replicas.

    Example: `mnet keys create --state server`
    """
    from mnet.toolchain.cloud.state import ServerState

    ServerState.open(state)
    _show(state)


@command.command(name="list")
def list_(state: State) -> None:
    """List the signing keys by name.

    Example: `mnet keys list --state server`
    """
    _show(state)


@command.command()
def rotate(state: State) -> None:
    """Create a new signing key. The previous one vouches for it, so that phones accept it.

    Example: `mnet keys rotate --state server`
    """
    from mnet.toolchain.cloud.signing_keys import rotate
    from mnet.toolchain.cloud.state import ServerState

    rotate(ServerState(state).keys)
    _show(state)


@command.command()
def retire(state: State) -> None:
    """Delete the previous signing keys. A phone that has not polled since the rotation must enrol again.

    Example: `mnet keys retire --state server`
    """
    from mnet.toolchain.cloud.signing_keys import retire
    from mnet.toolchain.cloud.state import ServerState

    for kid in retire(ServerState(state).keys):
        typer.echo(f"retired   {kid}")
    _show(state)


def _show(state: Path) -> None:
    from mnet.toolchain.cloud.signing_keys import Keyring
    from mnet.toolchain.cloud.state import ServerState

    keyring = Keyring.load(ServerState(state).keys)
    typer.echo(f"signing   {keyring.signing.kid}")
    for key in keyring.retiring:
        typer.echo(f"vouching  {key.kid}")
