"""`mnet push`: as the operator, release anew to phones from the contexts that they last uploaded."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    server: Annotated[str, typer.Option(help="URL of the server.")],
    operator_key: Annotated[Path, typer.Option(help="The server's operator key file.")],
    device: Annotated[
        list[str] | None, typer.Option(help="Device id; repeat it. Without: every device.")
    ] = None,
) -> None:
    """Generate and release weights anew, for some phones or all."""
    from rich.console import Console
    from rich.table import Table

    from toolchain.cloud.keys import read_key
    from toolchain.errors import UserError
    from toolchain.fleet.client import CloudClient, Denied, Offline

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
