"""What works where before anything is trained: a model with random weights, exported, verified and served."""

import dataclasses
import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import lightning

from mnet.export.exporter import export_bundle
from mnet.export.format.bundle import Bundle
from mnet.export.format.errors import BundleError
from mnet.export.lowering.dynamic import Bounds
from mnet.export.lowering.spec import ExportSpec
from mnet.toolchain.cloud.generation import verify_served
from mnet.toolchain.errors import UserError
from mnet.toolchain.tasks import find_task
from mnet.toolchain.training.build import GENERATED, WORLD, build_module, build_task, kept, load_data
from mnet.toolchain.training.config import Config
from mnet.toolchain.training.export_run import export_spec
from mnet.toolchain.training.preflight import preflight, preflight_module
from mnet.toolchain.training.run import Run

Verdict = Literal["right", "refused", "failed"]


class Row(NamedTuple):
    """One check: `verdict` is `refused` for what the project says cannot be, `failed` for an error nobody foresaw."""

    check: str
    verdict: Verdict
    found: str
    seconds: float


class _Checks:
    """Rows as they come, each with the seconds since the one before."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self._started = time.perf_counter()

    def note(self, check: str, found: str, verdict: Verdict = "right") -> None:
        now = time.perf_counter()
        self.rows.append(Row(check, verdict, found, now - self._started))
        self._started = now


def trial(
    config: Config,
    targets: Sequence[str],
    stage: Callable[[str], None],
    dynamic: Mapping[str, Bounds] = MappingProxyType({}),
) -> list[Row]:
    """Check the MetaNetwork of a config with random weights; calls `stage` with a line before each target.

    `dynamic` are sizes of inputs that vary in the export (`mnet.export.lowering.dynamic`).

    Raises UserError for a config, or data, that cannot be read.
    """
    if config.metanetwork is None:
        raise UserError(f"{config.name} trains no MetaNetwork; its config has no such section")
    data = load_data(config)
    facts = find_task(config.task.name).facts(data)
    task = build_task(config, facts)
    lightning.seed_everything(config.seed, verbose=False)
    network: Any = build_module(GENERATED, task, config)
    checks = _Checks()
    rows, note = checks.rows, checks.note
    stage("one real batch, in training's ways")
    sizes = [value.numel() for value in network.static().values()]
    note(
        "generated",
        f"{sum(sizes):,} numbers in {len(sizes)} parameters, by a generator of "
        f"{sum(p.numel() for p in network.generator.parameters()):,}",
    )
    try:
        preflight(task, network, task.splits(data, network), note)
    except UserError as error:
        note("training", str(error), "refused")
    modules = {name: build_module(name, task, config).eval() for name in kept(config) if name == WORLD}
    nowhere = Path(os.devnull)  # a run that has no folder
    run = Run(nowhere, config, config.name, "trial", facts, task, {GENERATED: network.eval(), **modules})
    spec = dataclasses.replace(export_spec(run), dynamic=dict(dynamic))
    for target in targets:
        stage(f"exporting for {target}, verifying, and serving a pack")
        rows.append(_exported(spec, target, partial(verify_served, run)))
    return rows


def trial_module(spec: ExportSpec, targets: Sequence[str], stage: Callable[[str], None]) -> list[Row]:
    """Check a module of any kind as `trial` checks a config, but for a task and a server."""
    checks = _Checks()
    rows, note = checks.rows, checks.note
    stage("two packs of other weights, in training's ways")
    sizes = [spec.model.get_parameter(name).numel() for name in spec.generated]
    note("generated", f"{sum(sizes):,} numbers in {len(sizes)} parameters")
    try:
        preflight_module(spec.model, spec.generated, spec.inputs, note)
    except UserError as error:
        note("training", str(error), "refused")
    for target in targets:
        stage(f"exporting for {target} and verifying")
        rows.append(_exported(spec, target, lambda _: None))
    return rows


def _exported(spec: ExportSpec, target: str, serve: Callable[[Bundle], None]) -> Row:
    started = time.perf_counter()
    verdict: Verdict = "right"
    try:
        with tempfile.TemporaryDirectory() as folder:
            bundle = export_bundle(spec, target, Path(folder) / "bundle")
            serve(bundle)
            manifest, program = bundle.manifest, bundle.manifest.model.program
            ways = " and ".join(sorted({slot.binding.kind for slot in manifest.slots}))
            size, push = manifest.bytes_of(program), len(bundle.default_pack())
            found = f"{size:,} bytes of {program}, {push:,} a push, by {ways}"
    except (BundleError, UserError) as error:
        verdict, found = "refused", str(error)
    except Exception as error:
        # Exporters raise what they like; the first line of it is for people, the rest for a report.
        verdict, found = (
            "failed",
            f"{type(error).__name__}: {(str(error).strip() or 'no message').splitlines()[0]}",
        )
    return Row(target, verdict, found, time.perf_counter() - started)


def as_json(rows: Sequence[Row]) -> str:
    """The table for machines: {check: {verdict, found, seconds}}."""
    return json.dumps({row.check: {**row._asdict(), "seconds": round(row.seconds, 2)} for row in rows})
