"""`mnet cohort`: which devices share the packs that are pushed to a cohort."""

from pathlib import Path
from typing import Annotated

import typer

from mnet.toolchain.cli._early import check_path, read_ids
from mnet.toolchain.cli._operator import OperatorKey, Server, connect
from mnet.toolchain.console import Printer

PANEL = "Operate"


def command(
    server: Server,
    operator_key: OperatorKey,
    name: Annotated[
        str | None, typer.Argument(help="Cohort that devices join. Without one, all are listed.")
    ] = None,
    device: Annotated[list[str] | None, typer.Option(help="Device id that joins; repeatable.")] = None,
    devices: Annotated[
        Path | None, typer.Option(help="File with a device id in each line, instead of --device.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """List the cohorts, or have devices join one: they leave their former one and get the new one's newest pack.

    Example: `mnet cohort de --devices ids.txt --server URL --operator-key server/keys/operator.key`
    """
    check_path(devices)

    import json

    from rich.table import Table

    from mnet.toolchain.errors import UserError

    joining = [*(device or []), *(read_ids(devices) if devices else [])]
    if (name is None) != (not joining):
        raise UserError("give a cohort with --device or --devices, or neither to list all cohorts")
    with connect(server, operator_key) as operator:
        reached = operator.join(name, joining) if name else 0
        members = operator.cohorts()
    if as_json:
        print(json.dumps({"cohorts": members, "reached": reached}))
        return
    table = Table("cohort", "devices")
    for cohort, count in members.items():
        table.add_row(cohort, f"{count:,}")
    Printer().print(table)
