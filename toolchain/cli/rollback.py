"""`mnet rollback`: as the operator, take a roll-out back."""

from typing import Annotated

import typer

from mnet.toolchain.cli._operator import OperatorKey, Server, connect
from mnet.toolchain.console import Printer

PANEL = "Operate"


def command(
    rollout: Annotated[int, typer.Argument(min=1, help="The number that `mnet push` printed.")],
    server: Server,
    operator_key: OperatorKey,
    stop_only: Annotated[
        bool, typer.Option(help="Only stop it: no more phones get it, and those that took it keep it.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Roll back: give each phone of a roll-out its previous weights, as a new version.

    Phones that have received newer weights since then keep these. The server works on it after the command has ended.

    Example: `mnet rollback 1 --server URL --operator-key server/keys/operator.key`
    """
    import json

    with connect(server, operator_key) as operator:
        if stop_only:
            operator.stop(rollout)
            Printer().print(json.dumps({"rollout": rollout}) if as_json else f"roll-out {rollout} is stopped")
            return
        begun = operator.roll_back(rollout)
    if as_json:
        print(json.dumps({"rollout": rollout, "begun": begun}))
    elif begun:
        Printer().print(
            f"roll-out {rollout} is being rolled back: `mnet history --rollout {rollout}` says how far it is"
        )
    else:
        Printer().print(f"roll-out {rollout} was rolled back before: nothing was left to do")
