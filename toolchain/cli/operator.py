"""`mnet operator`: who operates a fleet, each by a key of their own."""

import time
from typing import Annotated

import typer

from mnet.toolchain.cli._operator import OperatorKey, Server, connect

PANEL = "Operate"

command = typer.Typer(
    help="Give operators names and keys of their own, which the audit log and approvals go by.",
    no_args_is_help=True,
)
Name = Annotated[str, typer.Argument(help="A name of letters, digits, `_`, `.` and `-`.")]


@command.command()
def add(name: Name, server: Server, operator_key: OperatorKey) -> None:
    """Add an operator and print their key, this once: the server keeps a hash of it.

    Only the key in the server's key folder may do this. A file with the printed key is an `--operator-key`.

    Example: `mnet operator add ana --server URL --operator-key server/keys/operator.key > ana.key`
    """
    with connect(server, operator_key) as operator:
        print(operator.add_operator(name))
    typer.echo(
        f"the key of {name}, which is not shown again: keep it in a file that only {name} can read", err=True
    )


@command.command(name="list")
def list_(server: Server, operator_key: OperatorKey) -> None:
    """List the operators by name, and when each was added.

    Example: `mnet operator list --server URL --operator-key ana.key`
    """
    with connect(server, operator_key) as operator:
        for each in operator.operators():
            print(f"{each['name']}  {time.strftime('%Y-%m-%d %H:%M', time.localtime(each['added_at']))}")


@command.command()
def remove(name: Name, server: Server, operator_key: OperatorKey) -> None:
    """Make an operator's key worthless, at once and on every replica. The audit log keeps the name.

    Example: `mnet operator remove ana --server URL --operator-key server/keys/operator.key`
    """
    with connect(server, operator_key) as operator:
        operator.remove_operator(name)
    print(f"removed {name}")
