"""`mnet publish`: hand to phones what `mnet generate` made."""

from typing import Annotated

import typer

from mnet.toolchain.cli._state import AsJson, DatabaseUrl, PacksUrl, State
from mnet.toolchain.console import Bars, Printer

PANEL = "Operate"


def command(
    generated: Annotated[str, typer.Argument(help="The folder or URL that `mnet generate` wrote.")],
    state: State,
    database: DatabaseUrl = None,
    packs: PacksUrl = None,
    as_json: AsJson = False,
) -> None:
    """Publish what `mnet generate` wrote, while a server runs. Safe to rerun after an interruption.

    Example: `mnet publish packs --state server`
    """
    import json

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
    with Bars(Printer(stderr=True)) as progress:
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
