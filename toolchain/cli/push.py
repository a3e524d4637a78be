"""`mnet push`: new weights for phones from the contexts that they last uploaded, or a file over the cable."""

from pathlib import Path
from typing import Annotated

import typer

from mnet.toolchain.console import Printer

PANEL = "Operate"


def command(
    server: Annotated[str | None, typer.Option(help="URL of the server.")] = None,
    operator_key: Annotated[Path | None, typer.Option(help="The server's operator key file.")] = None,
    device: Annotated[
        list[str] | None, typer.Option(help="Device id; repeatable. Default: every device.")
    ] = None,
    percent: Annotated[
        float, typer.Option(min=0.01, max=100.0, help="Share of the devices to reach.")
    ] = 100.0,
    rollout: Annotated[int | None, typer.Option(help="Extend this roll-out to a larger --percent.")] = None,
    stop_above: Annotated[
        float,
        typer.Option(min=0.0, max=100.0, help="Stop when more than this percentage of phones refuse it."),
    ] = 1.0,
    adb: Annotated[
        Path | None,
        typer.Option(
            help="Send this bundle folder or pack to the Android demo on the attached phone instead."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Generate and release new weights for all phones, some, or a percentage; or send a file over adb.

    Example: `mnet push --server URL --operator-key server/keys/operator.key --percent 5`
    """
    import dataclasses
    import json

    from rich.table import Table

    from mnet.toolchain.attached.android_app import push_over_adb
    from mnet.toolchain.cloud.operator_client import Operator
    from mnet.toolchain.cloud.signing_keys import read_key
    from mnet.toolchain.errors import UserError

    if adb is not None:
        Printer().print(f"sent {adb} to {push_over_adb(adb)}")
        return
    if server is None or operator_key is None:
        raise UserError("give --server and --operator-key, or --adb")
    if rollout is not None and device:
        raise UserError("a roll-out keeps the devices that it was started for: leave out --device")
    with Operator(server, read_key(operator_key)) as operator:
        if rollout is None:
            pushed = operator.push(device, percent, stop_above / 100)
        else:
            pushed = operator.extend(rollout, percent)
    if as_json:
        print(json.dumps(dataclasses.asdict(pushed)))
        return
    table = Table("device", "version", title=f"roll-out {pushed.rollout}: pushed to {len(pushed.versions)}")
    for name, version in sorted(pushed.versions.items()):
        table.add_row(name, str(version))
    Printer().print(table)
