"""`mnet rollback`: as the operator, take a roll-out back."""

from pathlib import Path
from typing import Annotated

import typer

from mnet.toolchain.console import Printer

PANEL = "Operate"


def command(
    rollout: Annotated[int, typer.Argument(min=1, help="The number that `mnet push` printed.")],
    server: Annotated[str, typer.Option(help="URL of the server.")],
    operator_key: Annotated[Path, typer.Option(help="The server's operator key file.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Roll back: give each phone of a roll-out its previous weights, as a new version.

    Phones that have received newer weights since then keep these.

    Example: `mnet rollback 1 --server URL --operator-key server/keys/operator.key`
    """
    import dataclasses
    import json

    from mnet.toolchain.cloud.operator_client import Operator
    from mnet.toolchain.cloud.signing_keys import read_key

    with Operator(server, read_key(operator_key)) as operator:
        pushed = operator.roll_back(rollout)
    if as_json:
        print(json.dumps(dataclasses.asdict(pushed)))
    else:
        Printer().print(f"roll-out {rollout} rolled back on {len(pushed.versions)} phones")
