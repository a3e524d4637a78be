"""`mnet ab`: what a roll-out did for its users."""

from typing import Annotated

import typer

from mnet.toolchain.cli._operator import OperatorKey, Server, connect
from mnet.toolchain.cloud.comparison_text import HEADER, row
from mnet.toolchain.console import Printer, text_table

PANEL = "Operate"


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
    Printer().print(text_table(HEADER, [row(each) for each in found], f"roll-out {rollout}"))
