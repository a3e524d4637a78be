"""`mnet publish`: hand to phones what `mnet generate` made."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    generated: Annotated[str, typer.Argument(help="The --out of `mnet generate`.")],
    state: Annotated[Path, typer.Option(help="The state folder of the server.")],
    database: Annotated[
        str | None,
        typer.Option(help="As of `mnet serve`; in the state folder unless given.", envvar="MNET_DATABASE"),
    ] = None,
    packs: Annotated[
        str | None,
        typer.Option(help="As of `mnet serve`; in the state folder unless given.", envvar="MNET_PACKS"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Publish generated packs and releases beside a running server; again after a kill, nobody gets one twice.

    Example: `mnet publish packs --state server`
    """
    import json

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from mnet.toolchain.cloud.bulk_import import import_part, parts
    from mnet.toolchain.cloud.database import Database
    from mnet.toolchain.cloud.ledger import Ledger
    from mnet.toolchain.cloud.pack_store import PackStore
    from mnet.toolchain.cloud.state import ServerState
    from mnet.toolchain.contract.keys import load_public_keys

    server = ServerState(state)
    keys = load_public_keys(server.read_keys().keyring.jwks)
    store = PackStore(packs or server.packs_url())
    opened = Database(database or server.database_url())
    published = left_out = 0
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        for name in progress.track(parts(generated), description="parts"):
            imported = import_part(generated, name, keys, Ledger(opened), store)
            published, left_out = published + imported.published, left_out + imported.left_out
    opened.close()
    if as_json:
        print(json.dumps({"published": published, "left_out": left_out}))
    else:
        typer.echo(
            f"published {published:,}; {left_out:,} left out: not enrolled, or given newer weights since"
        )
