"""`mnet world`: one pack for everyone, from what everybody did of late."""

from pathlib import Path
from typing import Annotated

import typer

from mnet.toolchain.cli._early import check_bundles, check_runs
from mnet.toolchain.console import Printer

PANEL = "Operate"


def command(
    run: Annotated[
        Path, typer.Argument(help="Run folder that `mnet train` wrote, of a config with `world`.")
    ],
    bundle: Annotated[Path, typer.Option("--bundle", "-b", help="Bundle exported from that run.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="File of the pack.")],
    interactions: Annotated[
        Path | None,
        typer.Option(
            help="Table of what everybody did since the run's data end: `user`, `item`, `time`; items as that data "
            "calls them. Default: nothing since."
        ),
    ] = None,
    version: Annotated[
        int, typer.Option(min=1, help="Version of the pack; a device takes higher ones only.")
    ] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Make a world pack: weights for everyone, from what everybody did of late, without any upload from a device.

    Example: `mnet world runs/tweets --bundle bundles/tweets --interactions recent.csv --out world.pack`
    """
    check_runs(run)
    check_bundles(bundle)

    import json
    import time

    from mnet.export.format.bundle import Bundle
    from mnet.toolchain.cloud.world_packs import make_world_pack
    from mnet.toolchain.training.run import load_run

    made = make_world_pack(load_run(run), Bundle.load(bundle), interactions, version)
    out.write_bytes(made.pack)
    if as_json:
        facts = {"events": made.events, "new": made.new, "left_out": made.left_out, "until": made.until}
        print(json.dumps({"pack": str(out), "bytes": len(made.pack), "version": version, **facts}))
        return
    until = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(made.until))
    Printer().print(
        f"{out}: {len(made.pack):,} bytes for everyone, from {made.events:,} interactions until {until} (UTC), "
        f"{made.new:,} of them since the run's data"
        + (f"; {made.left_out:,} left out, of items that the run does not know" if made.left_out else "")
    )
