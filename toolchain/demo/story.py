"""The whole story, top to bottom: train, export, bench, serve, phones that swap, report."""

import json
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console

from mnet.export.bench.latency import Bench, bench_bundle
from mnet.export.format.bundle import Bundle
from mnet.export.format.manifest import MANIFEST_FILE
from mnet.toolchain.console import Bars
from mnet.toolchain.demo.findings import Findings
from mnet.toolchain.demo.page import demo_page, quality_figure
from mnet.toolchain.errors import UserError
from mnet.toolchain.fleet.processes import Event, ProcessEnded, ServerProcess, SimulateProcess
from mnet.toolchain.fleet.timelines import draw_timelines, shards
from mnet.toolchain.report.figures import standalone
from mnet.toolchain.tasks import find_task
from mnet.toolchain.training.build import build_task, load_data
from mnet.toolchain.training.config import Config
from mnet.toolchain.training.export_run import export_run
from mnet.toolchain.training.recipe import train
from mnet.toolchain.training.run import load_run

SWAPS = 400
PROCESSES = 2
QUICK = "A quick run, trained on few users: it shows that everything works, not what it gains."


def tell(config: Config, out: Path, devices: int, console: Console, quick: bool = False) -> dict[str, Any]:
    """Run the story into `out` and return its figures, as `report.json` holds them; `quick` claims no gain.

    Of the config's methods only the two that the phones compare are trained. `report.json` and `report.html` hold what
    is done at any time; the same call resumes a story that was interrupted.

    Leaves `run/`, `bundle/`, `report.json`, `report.html` and `quality.svg`. Raises UserError.
    """
    swaps = SWAPS // 4 if quick else SWAPS
    if config.metanetwork is None:
        raise UserError(f"{config.name} trains no MetaNetwork; the demo needs one")
    config = config.model_copy(update=dict.fromkeys(("cloud", "distillation", "fine_tuning", "direct")))
    run, folder = out / "run", out / "bundle"
    data = load_data(config)
    task = build_task(config, find_task(config.task.name).facts(data))
    task.timelines(data)  # a task without any is refused before anything is trained
    known = {
        "dataset": config.data.name,
        "model": config.model.name,
        "questions": task.questions,
        "seed": config.seed,
        "quick": quick,
        "folder": str(out),
    }
    console.rule("1  Train the device model and its MetaNetwork")
    train(config, run, console)
    _leave(out, {**known, "note": _only("the training")})
    console.rule("2  Export an Android bundle with swappable weights")
    bundle = _exported(run, folder, console)
    console.rule("3  Measure on the real runtime: constant against swappable weights")
    with Bars(console) as progress:
        bar = progress.add_task("swaps", total=swaps)
        bench = bench_bundle(bundle, swaps, lambda: progress.advance(bar))
    known["bench"] = bench.report(bundle)
    _leave(out, {**known, "note": _only("training and timing")}, bench)
    console.rule("4  Serve, and let phones drift, upload and swap")
    events: list[Event] = []
    try:
        _replay(run, folder, devices, events, console)
    except BaseException as error:
        if any(event["event"] == "swapped" for event in events):
            findings = Findings.of(events, task.metrics[0])
            cut = "The phones were interrupted, and this is what they had done. Rerun the same command for the rest."
            _leave(out, {**known, **findings.report(), "note": cut}, bench, findings)
        if isinstance(error, ProcessEnded):
            raise UserError(
                f"{error} -- what is done is in {out}; rerun the same command to resume"
            ) from None
        raise
    findings = Findings.of(events, task.metrics[0])
    report = {**known, **findings.report(), "note": QUICK if quick else ""}
    _leave(out, report, bench, findings)
    return report


def _only(what: str) -> str:
    return f"Only {what} has been done so far. Rerun the same command for the rest."


def _leave(
    out: Path, report: dict[str, Any], bench: Bench | None = None, findings: Findings | None = None
) -> None:
    """Write what is known by now."""
    (out / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    (out / "report.html").write_text(demo_page(report, bench, findings).html(), encoding="utf-8")
    if findings:
        (out / "quality.svg").write_text(standalone(quality_figure(findings, report)), encoding="utf-8")


def _exported(run: Path, folder: Path, console: Console) -> Bundle:
    """The run's Android bundle: that of an earlier, interrupted story, or a new one."""
    if (folder / MANIFEST_FILE).is_file():
        bundle = Bundle.load(folder)
        if bundle.manifest.model.metadata.get("generator") == load_run(run).fingerprint:
            console.print("  exported before")
            return bundle
    return export_run(run, "android", folder, lambda line: console.print(f"  {line}"))


def _replay(run: Path, bundle: Path, devices: int, events: list[Event], console: Console) -> None:
    """Start the server and the phones as processes of their own; `events` gets everything that the phones report."""
    available = len(draw_timelines(load_run(run)))
    devices = min(devices, available)
    with (
        TemporaryDirectory(prefix="mnet-demo-") as state,
        ExitStack() as running,
        Bars(console) as progress,
    ):
        server = running.enter_context(ServerProcess(run, bundle, Path(state) / "server"))
        parts = [(skip, count) for skip, count in shards(devices, PROCESSES) if count]
        processes = "1 process" if len(parts) == 1 else f"{len(parts)} processes"
        console.print(f"  serving on {server.url}; phones: {devices}, in {processes}")
        phones = [
            running.enter_context(
                SimulateProcess(server, run, bundle, Path(state) / f"{skip}.log", skip, count)
            )
            for skip, count in parts
        ]
        running.callback(lambda: events.extend(event for phone in phones for event in phone.events))
        task = progress.add_task("phones", total=devices)
        for turn in range(max(count for _, count in parts)):
            for phone, (_, count) in zip(phones, parts, strict=True):
                if turn < count:
                    phone.next_event("replayed")
                    progress.advance(task)
        for phone in phones:
            phone.next_event("simulated")  # by then it has tidied up
