"""`mnet approve`: as a second operator, let a push reach many phones."""

from typing import Annotated

import typer

from mnet.toolchain.cli._operator import OperatorKey, Server, Yes, confirm, connect
from mnet.toolchain.console import Printer

PANEL = "Operate"


def command(
    rollout: Annotated[int, typer.Argument(min=1, help="The number that `mnet push` printed.")],
    server: Server,
    operator_key: OperatorKey,
    yes: Yes = False,
) -> None:
    """Approve a push that another operator asked for, on a server that was begun with `--second-approval`.

    `mnet rollback N --stop-only` turns it down.

    Example: `mnet approve 1 --server URL --operator-key ben.key`
    """
    from mnet.toolchain.errors import UserError

    with connect(server, operator_key) as operator:
        now = operator.status(rollout)
        if now["proposed"] is None:
            raise UserError(f"roll-out {rollout} waits for nobody's approval")
        confirm(
            f"{now['proposed_by'] or 'An operator'} asks for {now['proposed']:g} % of roll-out {rollout}.",
            yes,
        )
        operator.approve(rollout)
    Printer().print(
        f"roll-out {rollout} is approved: `mnet history --rollout {rollout} --watch` says how far it is"
    )
