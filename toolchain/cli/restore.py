"""`mnet restore`: a server from its backup."""

from pathlib import Path
from typing import Annotated

import typer

from mnet.toolchain.cli._state import AsJson, DatabaseUrl, PacksUrl, State

PANEL = "Serve"


def command(
    backup: Annotated[Path, typer.Argument(help="The folder that `mnet backup` wrote.")],
    state: State,
    database: DatabaseUrl = None,
    packs: PacksUrl = None,
    as_json: AsJson = False,
) -> None:
    """Restore a backup into an empty database, SQLite or PostgreSQL; then start the server on it.

    Phones that are ahead of the backup get weights above their version when they poll, and those that enrolled after it
    are let in by their tokens. Keys that are there already stay. Erasures since the backup have to be repeated.

    Example: `mnet restore backups/monday --state server2`
    """
    import json

    from mnet.toolchain.cloud.backup import restore, restore_keys
    from mnet.toolchain.cloud.pack_store import PackStore
    from mnet.toolchain.cloud.state import ServerState

    server = ServerState(state)
    restore_keys(backup, server)
    ServerState.open(state)
    copied = restore(backup, database or server.database_url(), PackStore(packs or server.packs_url()))
    if as_json:
        print(json.dumps(vars(copied)))
    else:
        typer.echo(f"restored {copied.devices:,} devices, {copied.rows:,} rows, {copied.packs:,} packs")
