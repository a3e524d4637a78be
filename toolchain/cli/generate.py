"""`mnet generate`: packs and releases for a whole population at once."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mnet.toolchain.cli._early import check_bundles, check_runs
from mnet.toolchain.console import Bars, Printer
from mnet.toolchain.errors import UserError

PANEL = "Operate"


class Engine(StrEnum):
    """What runs it."""

    LOCAL = "local"
    RAY = "ray"


def command(
    run: Annotated[Path, typer.Argument(help="Run folder that `mnet train` wrote.")],
    bundle: Annotated[Path, typer.Option("--bundle", "-b", help="Bundle exported from that run.")],
    contexts: Annotated[
        str,
        typer.Option(
            help="Parquet file, folder or URL: columns `device`, `samples` (lists of ids, vectors, strings or "
            "structs), optionally `version`."
        ),
    ],
    out: Annotated[str, typer.Option("--out", "-o", help="Folder or URL, e.g. `s3://BUCKET/PATH`.")],
    signing_key: Annotated[Path, typer.Option(help="The server's signing key, PEM.")],
    engine: Annotated[
        Engine,
        typer.Option(help="`local` processes, or `ray`: the cluster at RAY_ADDRESS, else one started here."),
    ] = (Engine.LOCAL),
    issued_at: Annotated[
        int | None, typer.Option(help="Time in the releases, Unix seconds. Default: now.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Generate and sign packs for every user of a Parquet data set. Rerun to resume.

    Example: `mnet generate runs/ml -b bundles/ml --contexts c.parquet -o packs --signing-key server/keys/signing.pem`
    """
    check_runs(run)
    check_bundles(bundle)

    import dataclasses
    import json
    import secrets
    import time

    import torch

    from mnet.toolchain.cloud.bulk import begun, generate, plan
    from mnet.toolchain.cloud.bulk_parts import Job

    torch.set_num_threads(1)
    began, salt = begun(out) or (int(time.time()), secrets.token_hex(16))
    job = Job(
        run=str(run.absolute()),
        bundle=str(bundle.absolute()),
        contexts=contexts,
        out=out,
        signing_key=str(signing_key.absolute()),
        issued_at=issued_at or began,
        salt=salt,
    )
    units = plan(job)
    users = sum(unit.rows for unit in units)
    start = time.perf_counter()
    with Bars(Printer(stderr=True)) as progress:
        task = progress.add_task("users", total=users)
        done = generate(job, units, engine.value, lambda rows: progress.advance(task, rows))
        progress.update(task, completed=users)
    if users and done.refused == users:
        raise UserError(f"{out}: no user was served; refused-*.json there says why of each")
    seconds = time.perf_counter() - start
    report = {
        **dataclasses.asdict(done),
        "seconds": round(seconds, 2),
        "users_per_second": round(done.generated / seconds, 1),
    }
    if as_json:
        print(json.dumps(report))
    else:
        Printer().print(
            f"{out}: {done.generated:,} users in {seconds:.1f} s, {report['users_per_second']:,} a second, "
            f"signed and written; {done.before:,} were there before"
            + (f"; {done.refused:,} left out: see refused-*.json" if done.refused else ""),
        )
