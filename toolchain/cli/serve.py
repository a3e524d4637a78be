"""`mnet serve`: the cloud service of one run and one bundle."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    run: Annotated[Path, typer.Argument(help="Run folder that `mnet train` left.")],
    bundle: Annotated[Path, typer.Option("--bundle", "-b", help="Bundle exported from that run.")],
    state: Annotated[Path, typer.Option(help="Folder for keys, database and packs; created at first start.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 picks a free one.")] = 8765,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON line when ready.")] = False,
) -> None:
    """Serve a run: phones enrol, upload contexts and fetch the weights generated for them."""
    import json
    import logging

    import torch
    from rich.console import Console

    from export.bundle import Bundle
    from toolchain.cloud.generation import PackGenerator
    from toolchain.cloud.server import ServerState, build_service, listen, serve
    from toolchain.training.run import load_run

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    torch.set_num_threads(1)
    with listen(host, port) as listener:
        generator = PackGenerator(load_run(run), Bundle.load(bundle))
        server_state = ServerState.open(state)
        bound_host, bound_port = listener.getsockname()[:2]
        facts = {
            "url": f"http://{f'[{bound_host}]' if ':' in bound_host else bound_host}:{bound_port}",
            "bundle": generator.bundle_id,
            "enrolment_key": str(server_state.enrolment_key),
            "operator_key": str(server_state.operator_key),
            "signing_key": str(server_state.signing_key),
        }

        def ready() -> None:
            if as_json:
                print(json.dumps({"event": "ready", **facts}), flush=True)
            else:
                console = Console(highlight=False)
                for name, value in facts.items():
                    console.print(f"{name.replace('_', ' '):>13}  {value}", soft_wrap=True)

        serve(build_service(server_state, generator), [listener], ready)
