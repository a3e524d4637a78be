"""`mnet backup`: all that a server cannot make again."""

from pathlib import Path
from typing import Annotated

import typer

from mnet.toolchain.cli._state import AsJson, DatabaseUrl, PacksUrl, State

PANEL = "Serve"


def command(
    out: Annotated[Path, typer.Option("--out", "-o", help="New folder of the backup; it holds the keys.")],
    state: State,
    database: DatabaseUrl = None,
    packs: PacksUrl = None,
    as_json: AsJson = False,
) -> None:
    """Copy the database, the keys and the pushed packs of a server, of one moment, while it runs.

    Packs of single devices are left out: a restored server makes them again. Keep the folder as safe as the keys.

    Example: `mnet backup --state server --out backups/monday`
    """
    import json

    from mnet.toolchain.cloud.backup import back_up
    from mnet.toolchain.cloud.database import Database
    from mnet.toolchain.cloud.pack_store import PackStore
    from mnet.toolchain.cloud.state import ServerState

    server = ServerState(state)
    server.read_keys()
    opened = Database(database or server.database_url())
    try:
        copied = back_up(server, opened, PackStore(packs or server.packs_url()), out)
    finally:
        opened.close()
    if as_json:
        print(json.dumps(vars(copied)))
    else:
        typer.echo(
            f"{out}: {copied.devices:,} devices, {copied.rows:,} rows, {copied.packs:,} packs, the keys"
        )
