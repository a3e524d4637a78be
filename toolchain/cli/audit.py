"""`mnet audit`: is the audit log whole?"""

import time
from typing import Annotated

import typer

from mnet.toolchain.cli._operator import OperatorKey, Server, connect
from mnet.toolchain.console import Printer, text_table

PANEL = "Operate"


def command(
    server: Server,
    operator_key: OperatorKey,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Compute the hash of each entry again, and print the newest hashes."),
    ] = False,
    noted: Annotated[
        list[str] | None,
        typer.Option(
            help="A newest hash that an earlier check printed, which must still be there; repeatable."
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many entries to show, newest first.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Show the audit log or, with --verify, find entries that were changed or deleted since; exit code 1 if there are.

    Keep what it prints elsewhere: whoever can write to the database could make a whole log that fits, but for that.

    Example: `mnet audit --verify --server URL --operator-key server/keys/operator.key`
    """
    import json

    with connect(server, operator_key) as operator:
        if not verify and not noted:
            entries = operator.audit(limit)
            if as_json:
                print(json.dumps(entries))
            else:
                Printer().print(
                    text_table(("at", "who", "action", "what"), map(_cells, entries), "audit log")
                )
            return
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


def _cells(entry: dict[str, object]) -> list[str]:
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(float(str(entry["at"]))))
    detail = entry["detail"]
    what = ", ".join(f"{key} {value}" for key, value in detail.items()) if isinstance(detail, dict) else ""
    return [at, str(entry["operator"] or entry["actor"]), str(entry["action"]), what]
