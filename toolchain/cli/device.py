"""`mnet device`: one host phone as a process."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mnet.toolchain.cli._early import check_bundles

if TYPE_CHECKING:
    from mnet.toolchain.phone.client import Context

PANEL = "Serve"


def command(
    server: Annotated[str, typer.Option(help="URL of the server.")],
    bundle: Annotated[Path, typer.Option("--bundle", "-b", help="The bundle that the phone runs.")],
    state: Annotated[Path, typer.Option(help="The phone's own folder; created at first start.")],
    enrolment_key: Annotated[
        Path | None, typer.Option(help="The server's enrolment key file; needed at first start.")
    ] = None,
    cohort: Annotated[
        str | None, typer.Option(help="Cohort that the phone joins when it enrols, for packs pushed to it.")
    ] = None,
    roots: Annotated[
        Path | None,
        typer.Option(
            help="The `roots.json` of `mnet keys pin`; nothing is taken before these root keys vouch for the server's."
        ),
    ] = None,
    samples: Annotated[
        str,
        typer.Option(
            help="Contexts to upload: ids, e.g. `3,14,15`, or a file with one context in each line, ids or a JSON list "
            "of ids, vectors, texts or objects."
        ),
    ] = "",
    policy: Annotated[
        str, typer.Option(help="Which contexts to upload: `never`, `always`, `every:N` or `shift`.")
    ] = "always",
    once: Annotated[
        bool, typer.Option(help="Exit when the weights for the last context are in use.")
    ] = False,
    period: Annotated[
        float, typer.Option(min=0.0, help="Seconds between inferences; 0 for no pause.")
    ] = 0.05,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per event.")] = False,
) -> None:
    """Run one phone as a process: it infers all the time, uploads contexts and hot-swaps new weights.

    Example: `mnet device --server URL --bundle bundles/ml --state phone --enrolment-key server/keys/enrolment.key`
    """
    check_bundles(bundle)

    import signal
    import threading

    import torch

    from mnet.export.format.bundle import Bundle
    from mnet.toolchain.cloud.signing_keys import read_key
    from mnet.toolchain.contract.keys import Roots
    from mnet.toolchain.phone.phone import Phone
    from mnet.toolchain.phone.request_policies import request_policy
    from mnet.toolchain.phone.serving import serve_phone
    from mnet.toolchain.phone.updater import Updater

    torch.set_num_threads(1)
    report = _print_json if as_json else _print_line
    loaded = Bundle.load(bundle)
    contexts = _read_contexts(samples)
    key = None if enrolment_key is None else read_key(enrolment_key)
    pinned = None if roots is None else Roots.load(roots)
    phone = Phone(loaded, state, report, roots=pinned)
    following = Updater(
        phone,
        server,
        report,
        enrolment_key=key,
        cohort=cohort,
        contexts=contexts,
        once=once,
        policy=request_policy(policy, loaded, state),
    )
    report("started", version=phone.version, sha256=phone.running.sha256 if phone.running else None)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    serve_phone(phone, following, loaded.golden.inputs[0], report, stop, period_s=period)


def _print_json(event: str, **fields: Any) -> None:
    import json
    import sys

    # One write a line: the inferring and the following thread both report.
    sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
    sys.stdout.flush()


def _print_line(event: str, **fields: Any) -> None:
    if event == "inferred":
        return
    text = "  ".join(f"{name}={value}" for name, value in fields.items() if value is not None)
    typer.echo(f"{event:<13}{text}")


def _read_contexts(samples: str) -> "list[Context]":
    """Contexts from the command line or from a file; UserError where one is no list of samples."""
    from mnet.toolchain.errors import UserError

    given = Path(samples)
    if samples.replace(",", "").replace(" ", "").isdigit():
        lines = [samples]
    elif samples and given.is_file():
        lines = given.read_text(errors="replace").splitlines()
    elif samples:
        raise UserError(f"--samples {samples}: neither item ids nor a file")
    else:
        lines = []
    try:
        contexts = [_read_context(line) for line in lines]
    except ValueError as error:
        raise UserError(f"--samples {samples}: {error}") from error
    return [context for context in contexts if context]


def _read_context(line: str) -> "Context":
    """Ids as `3,14,15`, or JSON: `[3, 14]`, `[[0.1, 2.5], …]`, `["a text", …]` or `[{…}, …]`. Raises ValueError."""
    import json

    if not line.lstrip().startswith("["):
        return [int(sample) for sample in line.replace(",", " ").split()]
    context = json.loads(line)
    if all(type(sample) is int for sample in context):
        return context
    if all(isinstance(sample, list) and all(type(x) in (int, float) for x in sample) for sample in context):
        return [[float(x) for x in sample] for sample in context]
    if any(all(isinstance(sample, kind) for sample in context) for kind in (str, dict)):
        return context
    raise ValueError(f"{line[:40]} is no list of ids, of vectors, of texts or of objects")
