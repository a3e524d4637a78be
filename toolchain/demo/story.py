"""The whole story, top to bottom: train, export, bench, serve, phones that swap, report."""

import json
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console

from mnet.export.bench.latency import bench_bundle
from mnet.toolchain.console import Bars
from mnet.toolchain.demo.findings import Findings
from mnet.toolchain.demo.page import demo_page, quality_figure
from mnet.toolchain.errors import UserError
from mnet.toolchain.fleet.processes import Event, ServerProcess, SimulateProcess
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


def tell(config: Config, out: Path, devices: int, console: Console) -> dict[str, Any]:
    """Run the story into `out` and return its figures, as `report.json` holds them.

    Of the config's methods only the two that the phones compare are trained.

    Leaves `run/`, `bundle/`, `report.json`, `report.html` and `quality.svg`. Raises UserError.
    """
    if config.metanetwork is None:
        raise UserError(f"{config.name} trains no MetaNetwork; the demo needs one")
    config = config.model_copy(update=dict.fromkeys(("cloud", "distillation", "fine_tuning", "direct")))
    run, folder = out / "run", out / "bundle"
    data = load_data(config)
    task = build_task(config, find_task(config.task.name).facts(data))
    task.timelines(data)  # a task without any is refused before anything is trained
    console.rule("1  Train the device model and its MetaNetwork")
    train(config, run, console)
    console.rule("2  Export an Android bundle with swappable weights")
    bundle = export_run(run, "android", folder, lambda line: console.print(f"  {line}"))
    console.rule("3  Measure on the real runtime: constant against swappable weights")
    with Bars(console) as progress:
        bar = progress.add_task("swaps", total=SWAPS)
        bench = bench_bundle(bundle, SWAPS, lambda: progress.advance(bar))
    console.rule("4  Serve, and let phones drift, upload and swap")
    findings = Findings.of(_replay(run, folder, devices, console), task.metrics[0])
    report = {
        "dataset": config.data.name,
        "model": config.model.name,
        "questions": task.questions,
        "seed": config.seed,
        "bench": bench.report(bundle),
        **findings.report(),
    }
    (out / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    (out / "report.html").write_text(demo_page(findings, bench, report).html(), encoding="utf-8")
    (out / "quality.svg").write_text(standalone(quality_figure(findings, report)), encoding="utf-8")
    return report


def _replay(run: Path, bundle: Path, devices: int, console: Console) -> list[Event]:
    """Start the server and the phones as processes of their own; everything that the phones reported."""
    available = len(draw_timelines(load_run(run)))
    devices = min(devices, available)
    with (
        TemporaryDirectory(prefix="mnet-demo-") as state,
        ExitStack() as running,
        Bars(console) as progress,
    ):
        server = running.enter_context(ServerProcess(run, bundle, Path(state) / "server"))
        console.print(f"  serving on {server.url}; {devices} phones in {PROCESSES} processes")
        parts = list(shards(devices, PROCESSES))
        phones = [
            running.enter_context(
                SimulateProcess(server, run, bundle, Path(state) / f"{skip}.log", skip, count)
            )
            for skip, count in parts
        ]
        task = progress.add_task("phones", total=devices)
        for turn in range(max(count for _, count in parts)):
            for phone, (_, count) in zip(phones, parts, strict=True):
                if turn < count:
                    phone.next_event("replayed", timeout_s=300.0)
                    progress.advance(task)
        for phone in phones:
            phone.next_event("simulated")  # by then it has tidied up
        return [event for phone in phones for event in phone.events]
