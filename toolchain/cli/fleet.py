"""`mnet fleet`: the devices of a server at a glance."""

from typing import Annotated, Any

import typer

from mnet.toolchain.cli._operator import OperatorKey, Server, connect
from mnet.toolchain.console import Printer, text_table

PANEL = "Operate"


def command(
    server: Server,
    operator_key: OperatorKey,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Show a server's devices by version and bundle, the stale ones, and the newest roll-outs with their refusals.

    The same is shown by the server's page, at its URL.

    Example: `mnet fleet --server URL --operator-key server/keys/operator.key`
    """
    import json

    with connect(server, operator_key) as operator:
        view = operator.fleet()
    if as_json:
        print(json.dumps(view))
        return
    printer = Printer()
    printer.print(
        f"{view['devices']:,} devices: {view['waiting']:,} wait, {view['stale']:,} have not taken their newest for a "
        f"day, {view['failing']:,} sent a context that gave no weights; {view['uploads']:,} uploads within the hour"
    )
    for title, rows in (("versions", view["versions"]), ("roll-outs", view["rollouts"])):
        if rows:
            cells = [[_text(name, value) for name, value in row.items()] for row in rows]
            printer.print(text_table(rows[0], cells, title))


def _text(name: str, value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {count:,}" for key, count in value.items())
    return str(value)[:12] if name == "bundle" else str(value)
