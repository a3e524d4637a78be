"""`mnet history`: what was done to a fleet, and what a device was given."""

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mnet.toolchain.cli._operator import OperatorKey, Server, connect
from mnet.toolchain.console import Printer, text_table

if TYPE_CHECKING:
    from mnet.toolchain.cloud.operator_client import Operator

PANEL = "Operate"


def command(
    server: Server,
    operator_key: OperatorKey,
    device: Annotated[str | None, typer.Option(help="Show the releases of this device.")] = None,
    rollout: Annotated[int | None, typer.Option(help="Show how far this roll-out is.")] = None,
    watch: Annotated[
        bool,
        typer.Option(
            help="Wait until the --rollout has nothing left to do, and say how far it is meanwhile."
        ),
    ] = False,
    limit: Annotated[
        int, typer.Option(min=1, max=1000, help="How many entries of the audit log, newest first.")
    ] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Show the audit log, or the releases of one device, or the state of a roll-out.

    Example: `mnet history --server URL --operator-key server/keys/operator.key --rollout 1`
    """
    import json

    with connect(server, operator_key) as operator:
        if device is not None:
            title, rows = f"releases of {device}", operator.releases(device)
        elif rollout is not None:
            title, rows = (
                f"roll-out {rollout}",
                [_settled(operator, rollout) if watch else operator.status(rollout)],
            )
        else:
            title, rows = "audit log", operator.audit(limit)
    if as_json:
        print(json.dumps(rows))
    else:
        header = rows[0] if rows else ("nothing",)
        cells = ([_text(name, value) for name, value in row.items()] for row in rows)
        Printer().print(text_table(header, cells, title))


def _settled(operator: "Operator", rollout: int) -> dict[str, Any]:
    """The state of a roll-out once nothing is left to do; on stderr, how far it is until then."""
    said = None
    while (status := operator.status(rollout))["state"] in ("running", "rolling back"):
        line = f"{status['state']}: {status['reached']:,} asked for, {status['waiting']:,} of them wait"
        if line != said:
            Printer(stderr=True).print(said := line)
        time.sleep(0.5)
    return status


def _text(name: str, value: Any) -> str:
    if name in ("at", "issued_at", "started_at"):
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(value))
    if isinstance(value, dict):
        return ", ".join(f"{key} {item}" for key, item in value.items())
    return "" if value is None else str(value)
