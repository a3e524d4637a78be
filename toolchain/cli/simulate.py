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
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object an event.")] = False,
) -> None:
    """Replay test users on the real runtime: upload, swap, rank each next item with old and new weights."""
    import json
    import sys

    import torch

    from export.bundle import Bundle
    from toolchain.cloud.keys import read_key
    from toolchain.errors import UserError
    from toolchain.fleet.replay import Replay, draw_timelines
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

    key = read_key(enrolment_key)
    Replay(loaded, Bundle.load(bundle), server, key, report).run(timelines)
