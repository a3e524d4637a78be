"""`mnet history`: what was done to a fleet, and what a device was given."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from mnet.toolchain.console import Printer, text_table

PANEL = "Operate"


def command(
    server: Annotated[str, typer.Option(help="URL of the server.")],
    operator_key: Annotated[Path, typer.Option(help="The server's operator key file.")],
    device: Annotated[str | None, typer.Option(help="Show the releases of this device.")] = None,
    rollout: Annotated[int | None, typer.Option(help="Show how far this roll-out is.")] = None,
    limit: Annotated[
        int, typer.Option(min=1, max=1000, help="How many entries of the audit log, newest first.")
    ] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Show the audit log, or the releases of one device, or the state of a roll-out.

    Example: `mnet history --server URL --operator-key server/keys/operator.key --rollout 1`
    """
    import json

    from mnet.toolchain.cloud.operator_client import Operator
    from mnet.toolchain.cloud.signing_keys import read_key

    with Operator(server, read_key(operator_key)) as operator:
        if device is not None:
            title, rows = f"releases of {device}", operator.releases(device)
        elif rollout is not None:
            title, rows = f"roll-out {rollout}", [operator.status(rollout)]
        else:
            title, rows = "audit log", operator.audit(limit)
    if as_json:
        print(json.dumps(rows))
    else:
        header = rows[0] if rows else ("nothing",)
        cells = ([_text(name, value) for name, value in row.items()] for row in rows)
        Printer().print(text_table(header, cells, title))


def _text(name: str, value: Any) -> str:
    if name in ("at", "issued_at", "started_at"):
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(value))
    if isinstance(value, dict):
        return ", ".join(f"{key} {item}" for key, item in value.items())
    return "" if value is None else str(value)
