"""`mnet ab`: what a roll-out did for its users."""

from typing import Annotated, Any

import typer

from mnet.toolchain.cli._operator import OperatorKey, Server, connect
from mnet.toolchain.console import Printer, text_table

PANEL = "Operate"
_HEADER = ("metric", "treated", "held out", "difference", "95 % interval", "devices", "values")


def command(
    rollout: Annotated[int, typer.Argument(min=1, help="The number that `mnet push --hold-out` printed.")],
    server: Server,
    operator_key: OperatorKey,
    metric: Annotated[str | None, typer.Option(help="Only this metric. Default: all.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Compare what apps measured on the phones of a roll-out with the phones that were held out of it.

    Each phone counts once, by the mean of its values. The interval holds at every moment: look as often as you like,
    and act as soon as it leaves out zero.

    Example: `mnet ab 1 --metric clicked --server URL --operator-key server/keys/operator.key`
    """
    import json

    with connect(server, operator_key) as operator:
        found = operator.compare(rollout, metric)
    if as_json:
        print(json.dumps(found))
        return
    Printer().print(text_table(_HEADER, [_row(each) for each in found], f"roll-out {rollout}"))


def _row(found: dict[str, Any]) -> tuple[str, ...]:
    treated, held_out, seen = found["treated"], found["held_out"], found["difference"]
    interval = seen and seen["interval"]
    return (
        found["metric"],
        _number(treated["mean"]),
        _number(held_out["mean"]),
        _number(seen and seen["difference"], "+"),
        f"{interval[0]:+.4g} to {interval[1]:+.4g}" if interval else "too few phones",
        f"{treated['devices']:,} and {held_out['devices']:,}",
        f"{treated['values']:,} and {held_out['values']:,}",
    )


def _number(value: float | None, sign: str = "") -> str:
    return "" if value is None else f"{value:{sign}.4g}"
