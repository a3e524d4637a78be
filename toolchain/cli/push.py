"""`mnet push`: release anew to phones from the contexts that they last uploaded, or send a file over the cable."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    server: Annotated[str | None, typer.Option(help="URL of the server.")] = None,
    operator_key: Annotated[Path | None, typer.Option(help="The server's operator key file.")] = None,
    device: Annotated[
        list[str] | None, typer.Option(help="Device id; repeat it. Without: every device.")
    ] = None,
    adb: Annotated[
        Path | None,
        typer.Option(help="Instead: a bundle folder or a pack, for the Android demo on the attached phone."),
    ] = None,
) -> None:
    """Generate and release weights anew, for some phones or all; or send a bundle or a pack over adb."""
    from rich.console import Console
    from rich.table import Table

    from toolchain.cloud.keys import read_key
    from toolchain.errors import UserError
    from toolchain.fleet.android_app import push_over_adb
    from toolchain.fleet.client import CloudClient, Denied, Offline

    if adb is not None:
        Console(highlight=False).print(f"sent {adb} to {push_over_adb(adb)}", soft_wrap=True)
        return
    if server is None or operator_key is None:
        raise UserError("give --server and --operator-key, or --adb")
    key = read_key(operator_key)
    with CloudClient(server) as client:
        try:
            versions = client.push(key, device)
        except (Offline, Denied) as error:
            raise UserError(f"{server}: {error}") from error
    table = Table("device", "version", title=f"pushed to {len(versions)}")
    for name, version in sorted(versions.items()):
        table.add_row(name, str(version))
    Console().print(table)
