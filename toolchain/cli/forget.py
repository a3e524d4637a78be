"""`mnet forget`: as the operator, make a device's token worthless, or erase the device."""

from pathlib import Path
from typing import Annotated

import typer

PANEL = "Operate"


def command(
    device: Annotated[list[str], typer.Argument(help="Device id; repeatable.")],
    server: Annotated[str, typer.Option(help="URL of the server.")],
    operator_key: Annotated[Path, typer.Option(help="The server's operator key file.")],
    token_only: Annotated[bool, typer.Option(help="Revoke the token only, and keep the rest.")] = False,
) -> None:
    """Erase devices: token, context, releases and packs. The audit log keeps their ids.

    Example: `mnet forget 3f2a9c10d4e5b687 --server URL --operator-key server/keys/operator.key`
    """
    from mnet.toolchain.cloud.operator_client import Operator
    from mnet.toolchain.cloud.signing_keys import read_key

    with Operator(server, read_key(operator_key)) as operator:
        for each in device:
            operator.revoke(each) if token_only else operator.erase(each)
            typer.echo(f"{'revoked' if token_only else 'erased'} {each}")
