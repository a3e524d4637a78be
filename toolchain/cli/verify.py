"""`mnet verify`: is this bundle whole, and does it do what it should?"""

from pathlib import Path
from typing import Annotated

import typer

from mnet.toolchain.cli._early import check_bundles, check_runs
from mnet.toolchain.console import Printer

PANEL = "Export"


def command(
    bundle: Annotated[Path, typer.Argument(help="Bundle folder that `mnet export` wrote.")],
    run: Annotated[
        Path | None,
        typer.Option(
            help="The run that it was exported from: packs are made of it, as the server does, too."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Verify every file of a bundle, and its golden outputs on the real runtime.

    The exit code is 1 if the bundle is damaged.

    Example: `mnet verify bundles/ml`
    """
    check_bundles(bundle)
    if run is not None:
        check_runs(run)

    import dataclasses
    import json

    from rich.table import Table
    from rich.text import Text

    from mnet.export.format.bundle import Bundle
    from mnet.export.format.errors import IntegrityError
    from mnet.export.targets import find_target
    from mnet.export.verify import verify_bundle

    try:
        loaded = Bundle.load(bundle)
        result = {"ok": True, **dataclasses.asdict(verify_bundle(loaded))}
        if run is not None:
            from mnet.toolchain.cloud.generation import verify_served
            from mnet.toolchain.training.run import load_run

            verify_served(load_run(run), loaded)
            result["served_packs"] = 2
    except IntegrityError as error:
        if as_json:
            print(json.dumps({"ok": False, "reason": str(error.reason), "detail": error.detail}))
        else:
            Printer(stderr=True).print(Text("damaged: ", "bold red") + Text(str(error)))
        raise typer.Exit(1) from None
    if as_json:
        print(json.dumps(result))
        return
    table = Table(
        "check", "value", title=f"{bundle} is good", caption=find_target(loaded.manifest.target).runtime
    )
    for name, value in result.items():
        table.add_row(name.replace("_", " "), f"{value:.1e}" if isinstance(value, float) else str(value))
    Printer().print(table)
