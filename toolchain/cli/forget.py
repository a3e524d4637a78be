"""`mnet forget`: as the operator, make a device's token worthless, or erase the device."""

from typing import Annotated

import typer

from mnet.toolchain.cli._operator import OperatorKey, Server, Yes, confirm, connect

PANEL = "Operate"


def command(
    device: Annotated[list[str], typer.Argument(help="Device id; repeatable.")],
    server: Server,
    operator_key: OperatorKey,
    token_only: Annotated[bool, typer.Option(help="Revoke the token only, and keep the rest.")] = False,
    yes: Yes = False,
) -> None:
    """Erase devices: token, context, releases and packs. The audit log keeps their ids.

    Example: `mnet forget 3f2a9c10d4e5b687 --server URL --operator-key server/keys/operator.key`
    """

    confirm(f"{'Revoke the token of' if token_only else 'Erase'} {', '.join(device)}.", yes)
    with connect(server, operator_key) as operator:
        for each in device:
            operator.revoke(each) if token_only else operator.erase(each)
            typer.echo(f"{'revoked' if token_only else 'erased'} {each}")
