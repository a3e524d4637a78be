"""`mnet serve`: the cloud service of some bundles."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from mnet.toolchain.console import Printer

PANEL = "Serve"


def command(
    bundle: Annotated[
        list[Path],
        typer.Option("--bundle", "-b", help="Bundle, or a folder of bundles; repeatable."),
    ],
    state: Annotated[
        Path, typer.Option(help="Folder for keys, database and packs; created at the first start.")
    ],
    run: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Run folder that `mnet train` wrote, or a folder of such; repeatable. Without any, nothing is "
            "generated: operators push packs."
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 picks a free one.")] = 8765,
    workers: Annotated[
        int, typer.Option(min=1, help="Server processes on that port; each holds the model, about 0.6 GB.")
    ] = 1,
    database: Annotated[
        str | None,
        typer.Option(
            help="`postgresql://USER:PASSWORD@HOST/NAME`, for several replicas.", envvar="MNET_DATABASE"
        ),
    ] = None,
    packs: Annotated[
        str | None, typer.Option(help="`file:///PATH` or `s3://BUCKET/PATH`.", envvar="MNET_PACKS")
    ] = None,
    retain: Annotated[
        float,
        typer.Option(
            min=0,
            help="Days to keep a context; 0 deletes it when its weights are made, inf keeps it for good.",
        ),
    ] = 30.0,
    second_approval: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=100,
            help="A push to more than this percentage of the fleet waits for a second operator (`mnet approve`).",
        ),
    ] = None,
    uploads: Annotated[int, typer.Option(min=1, help="Most uploads of a device in a minute.")] = 120,
    enrolments: Annotated[
        int, typer.Option(min=1, help="Most devices that enrol in a minute, for each worker.")
    ] = 6000,
    max_body: Annotated[int, typer.Option(min=1, help="Longest body of a request, KiB.")] = 256,
    max_context: Annotated[int, typer.Option(min=1, help="Most samples of a context.")] = 1000,
    tls_certificate: Annotated[Path | None, typer.Option(help="Certificate chain, PEM: serve HTTPS.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its private key, PEM.")] = None,
    log: Annotated[Literal["text", "json"], typer.Option(help="Format of the log on stderr.")] = "text",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON line when ready.")] = False,
) -> None:
    """Serve bundles: phones enrol, upload contexts and fetch the weights generated for them, or pushed to them.

    SIGHUP reloads runs, bundles and keys without dropping a request; SIGTERM finishes the requests in progress.

    Example: `mnet serve runs/ml --bundle bundles/ml --state server`
    """
    import json
    import logging
    import math
    from collections.abc import Sequence

    from mnet.toolchain.cloud.logs import log_to_stderr
    from mnet.toolchain.cloud.settings import Limits, Settings
    from mnet.toolchain.cloud.state import ServerState
    from mnet.toolchain.cloud.workers import listen, serve
    from mnet.toolchain.errors import UserError

    if (tls_certificate is None) != (tls_key is None):
        raise UserError("HTTPS needs both --tls-certificate and --tls-key")
    log_to_stderr(as_json=log == "json")
    with listen(host, port) as listener:
        server_state = ServerState.open(state, database)
        settings = Settings(
            runs=tuple(run or ()),
            bundles=tuple(bundle),
            state=server_state,
            workers=workers,
            database=database,
            packs=packs,
            second_approval=second_approval,
            retain_days=None if math.isinf(retain) else retain,
            limits=Limits(
                body_bytes=max_body * 1024,
                context=max_context,
                uploads_a_minute=uploads,
                enrolments_a_minute=enrolments,
            ),
            tls_certificate=tls_certificate,
            tls_key=tls_key,
            log_as_json=log == "json",
        )
        bound_host, bound_port = listener.getsockname()[:2]
        scheme = "http" if tls_key is None else "https"

        def ready(bundles: Sequence[str]) -> None:
            facts = {
                "url": f"{scheme}://{f'[{bound_host}]' if ':' in bound_host else bound_host}:{bound_port}",
                "bundles": ", ".join(bundles),
                "enrolment_key": str(server_state.enrolment_key),
                "operator_key": str(server_state.operator_key),
                "signing_key": str(server_state.signing_key),
            }
            if as_json:
                print(json.dumps({"event": "ready", **facts}), flush=True)
            else:
                console = Printer()
                for name, value in facts.items():
                    console.print(f"{name.replace('_', ' '):>13}  {value}")

        logging.getLogger("mnet.serve").info(
            "starting, workers: %d; loading PyTorch, runs and bundles", workers
        )
        serve(settings, listener, ready)
