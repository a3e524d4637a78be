"""`mnet generate`: packs and releases for a whole population at once."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mnet.toolchain.cli._early import check_bundles, check_runs


class Engine(StrEnum):
    """What runs it."""

    LOCAL = "local"
    RAY = "ray"


def command(
    run: Annotated[Path, typer.Argument(help="Run folder that `mnet train` left.")],
    bundle: Annotated[Path, typer.Option("--bundle", "-b", help="Bundle exported from that run.")],
    contexts: Annotated[
        str,
        typer.Option(help="Parquet file, or folder or URL of some: `device`, `samples` and maybe `version`."),
    ],
    out: Annotated[str, typer.Option("--out", "-o", help="Folder or URL, as `s3://BUCKET/PATH`.")],
    signing_key: Annotated[Path, typer.Option(help="The server's signing key, PEM.")],
    engine: Annotated[
        Engine, typer.Option(help="ray: on the cluster at RAY_ADDRESS, else on one started here.")
    ] = (Engine.LOCAL),
    issued_at: Annotated[
        int | None, typer.Option(help="Time in the releases, Unix seconds; now unless given.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Generate and sign for every user of a Parquet data set; the same command again goes on with a stopped one.

    Example: `mnet generate runs/ml -b bundles/ml --contexts c.parquet -o packs --signing-key server/keys/signing.pem`
    """
    check_runs(run)
    check_bundles(bundle)

    import dataclasses
    import json
    import time

    import torch
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from mnet.toolchain.cloud.bulk import begun_at, generate, plan
    from mnet.toolchain.cloud.bulk_parts import Job

    torch.set_num_threads(1)
    job = Job(
        run=str(run.absolute()),
        bundle=str(bundle.absolute()),
        contexts=contexts,
        out=out,
        signing_key=str(signing_key.absolute()),
        issued_at=issued_at or begun_at(out) or int(time.time()),
    )
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    units = plan(job)
    users = sum(unit.rows for unit in units)
    start = time.perf_counter()
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("users", total=users)
        done = generate(job, units, engine.value, lambda rows: progress.advance(task, rows))
        progress.update(task, completed=users)
    seconds = time.perf_counter() - start
    report = {
        **dataclasses.asdict(done),
        "seconds": round(seconds, 2),
        "users_per_second": round(done.generated / seconds, 1),
    }
    if as_json:
        print(json.dumps(report))
    else:
        Console(highlight=False).print(
            f"{out}: {done.generated:,} users in {seconds:.1f} s, {report['users_per_second']:,} a second, "
            f"signed and written; {done.before:,} were there"
            + (f"; {done.refused:,} left out: see refused-*.json" if done.refused else ""),
            soft_wrap=True,
        )
