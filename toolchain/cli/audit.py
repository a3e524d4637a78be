"""`mnet audit`: is the audit log whole?"""

from typing import Annotated

import typer

from mnet.toolchain.cli._operator import OperatorKey, Server, connect

PANEL = "Operate"


def command(
    server: Server,
    operator_key: OperatorKey,
    noted: Annotated[
        list[str] | None,
        typer.Option(
            help="A newest hash that an earlier check printed, which must still be there; repeatable."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Check that no entry of the audit log was changed or deleted, and print its newest hashes; exit code 1 if one was.

    Keep the hashes elsewhere: whoever can write to the database could make a whole log that fits, but for them.
    `mnet history` shows the log.

    Example: `mnet audit --server URL --operator-key server/keys/operator.key`
    """
    import json

    with connect(server, operator_key) as operator:
        found = operator.check_audit(noted or [])
    if as_json:
        print(json.dumps(found))
    else:
        print(f"{found['entries']:,} entries, {len(found['faults']) or 'no'} faults")
        for fault in found["faults"]:
            print(fault)
        for chain, head in found["heads"].items():
            print(f"newest of {chain}: {head or 'none'}")
    if found["faults"]:
        raise typer.Exit(1)
