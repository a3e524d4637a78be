"""`mnet demo`: the whole story on this machine."""

from pathlib import Path
from typing import Annotated

import typer

from mnet.toolchain.cli._settings import read_settings
from mnet.toolchain.console import Printer, text_table
from mnet.toolchain.errors import UserError

PANEL = "Train"


def command(
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for the run, the bundle and the report.")
    ] = Path("demo-out"),
    data: Annotated[
        str | None, typer.Option(help="`NAME=PATH`: real data, e.g. `movielens-100k=u.data`.")
    ] = None,
    users: Annotated[int, typer.Option(min=1, help="How many users to replay on host phones.")] = 240,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Show that it works, in a minute: few users, and no claim of a gain."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print report.json.")] = False,
) -> None:
    """Run the whole story on this machine: train, export, serve, push, hot-swap; write report.html.

    It needs no network and no data, and takes about four minutes on two quiet cores. Rerun to resume.

    Example: `mnet demo --data movielens-100k=ml-100k`
    """
    name = data.partition("=")[0] if data else "synthetic-drift"
    if quick and data:
        raise UserError("--quick is for the made-up data; leave out --data, or --quick")
    config = read_settings(f"{name}/sasrec", [data] if data else None, ["data.users=200"] if quick else [])

    import json

    from rich.table import Table

    from mnet.toolchain.demo.page import quality_header, quality_rows
    from mnet.toolchain.demo.story import tell

    console = Printer(stderr=True)
    console.print(
        "Trains two models, exports and times an Android bundle, starts a server, and replays users on host phones: "
        f"about {'one minute' if quick else 'four minutes'} on two quiet cores. Rerun to resume."
    )
    report = tell(config, out, min(users, 24) if quick else users, console, quick)
    if as_json:
        print(json.dumps(report))
        return
    bench, push = report["bench"], report["push"]
    title = "Static against swapped, on the phones"
    quality = text_table(quality_header(report), quality_rows(report), title)
    cost = Table("cost", "measured", show_header=False)
    cost.add_row("inference, swappable ÷ constant weights", f"{bench['inference']['ratio_p50']:.3f}")
    cost.add_row("swap p50", f"{bench['swap']['p50_us']:.0f} µs")
    cost.add_row("payload", f"{push['payload_bytes']:,} bytes")
    cost.add_row("upload to swapped, p50", f"{push['upload_to_swap_ms']['p50']:.0f} ms")
    for table in (quality, cost):
        Printer().print(table)
    if report["note"]:
        Printer().print(report["note"])
    Printer().print(f"report: {out / 'report.html'}")
