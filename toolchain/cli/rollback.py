"""`mnet rollback`: as the operator, take a roll-out back."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    rollout: Annotated[int, typer.Argument(min=1, help="The number that `mnet push` printed.")],
    server: Annotated[str, typer.Option(help="URL of the server.")],
    operator_key: Annotated[Path, typer.Option(help="The server's operator key file.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Give each phone the weights that a roll-out replaced, as a new version; those with newer ones keep them.

    Example: `mnet rollback 1 --server URL --operator-key server/keys/operator.key`
    """
    import dataclasses
    import json

    from rich.console import Console

    from mnet.toolchain.cloud.operator_client import Operator
    from mnet.toolchain.cloud.signing_keys import read_key

    with Operator(server, read_key(operator_key)) as operator:
        pushed = operator.roll_back(rollout)
    if as_json:
        print(json.dumps(dataclasses.asdict(pushed)))
    else:
        Console(highlight=False).print(f"roll-out {rollout} rolled back on {len(pushed.versions)} phones")
