"""`mnet simulate`: users of the run's data set as phones of a server."""

from pathlib import Path
from typing import Annotated, Any

import typer


def command(
    run: Annotated[Path, typer.Argument(help="Run folder that `mnet train` left.")],
    server: Annotated[str, typer.Option(help="URL of the server.")],
    bundle: Annotated[Path, typer.Option("--bundle", "-b", help="The bundle that the phones run.")],
    enrolment_key: Annotated[Path, typer.Option(help="The server's enrolment key file.")],
    devices: Annotated[int, typer.Option(min=1, help="How many users to replay.")] = 10,
    skip: Annotated[int, typer.Option(min=0, help="How many to pass over: several processes share.")] = 0,
    policy: Annotated[
        list[str],
        typer.Option(help="When phones ask: `never`, `always`, `every:N` or `shift`; repeat it to compare."),
    ] = ["always"],  # noqa: B006
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object an event.")] = False,
) -> None:
    """Replay test users on the real runtime: upload, swap, rank each next item with old and new weights.

    The table at the end has quality and bytes of each policy. `mnet policies` has them for all test users at once,
    without a server.

    Example: `mnet simulate runs/ml --server URL -b bundles/ml --enrolment-key server/keys/enrolment.key`
    """
    import json
    import sys

    import torch
    from rich.console import Console
    from rich.table import Table

    from export.bundle import Bundle
    from toolchain.cloud.keys import read_key
    from toolchain.errors import UserError
    from toolchain.fleet.replay import Replay, draw_timelines
    from toolchain.fleet.tally import Tally
    from toolchain.training.run import load_run

    torch.set_num_threads(1)
    loaded = load_run(run)
    timelines = draw_timelines(loaded)[skip : skip + devices]
    if len(timelines) < devices:
        raise UserError(f"{run}: only {len(timelines)} test users are left after --skip {skip}")

    def report(event: str, **fields: Any) -> None:
        if as_json:
            sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
            sys.stdout.flush()
        elif event != "predicted":
            typer.echo(f"{event:<10} " + "  ".join(f"{name}={value}" for name, value in fields.items()))

    key, opened = read_key(enrolment_key), Bundle.load(bundle)
    table = Table("policy", "requests a phone", "kB of weights", "ndcg@10", "default pack", "static")
    for name in policy:
        tally = Tally(report)
        Replay(loaded, opened, server, key, tally.hear, name).run(timelines)
        result = tally.result()
        report("policy", policy=name, **result)
        ndcg = [f"{result['ndcg'][version]:.4f}" for version in ("live", "default", "static")]
        table.add_row(name, f"{result['requests']:.1f}", f"{result['bytes'] / 1000:.1f}", *ndcg)
    if not as_json:
        Console().print(table)
