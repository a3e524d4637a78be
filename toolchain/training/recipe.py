"""The recipe of a run, top to bottom: the methods that its config names, one after the other.

The MetaNetwork trains a device model of its own. For recommenders it starts from scratch: started from the finished
static one it gained about half as much, as embeddings that have settled for one head do not move far enough to serve
many. Convolutions do serve many heads as they are, and take long to learn: images start from the static model.
"""

import json
import time
from pathlib import Path
from typing import Any

import lightning
from rich.console import Console
from torch import nn

from mnet.toolchain.metanetwork import MetaNetwork
from mnet.toolchain.metanetwork.context_images import ImageReader
from mnet.toolchain.own_module import fill, read_state
from mnet.toolchain.tasks import Task, find_task
from mnet.toolchain.tasks.splits import Splits
from mnet.toolchain.training.build import (
    CLOUD,
    DIRECT,
    DISTILLED,
    EARLY,
    FINE_TUNED,
    GENERATED,
    STATIC,
    WORLD,
    build_task,
    cloud_training,
    fits,
    initial_module,
    kept,
    load_data,
)
from mnet.toolchain.training.config import Config, FitConfig, StaticConfig
from mnet.toolchain.training.curves import LiveCurves, write_curves
from mnet.toolchain.training.fine_tuning_grid import tune, validated
from mnet.toolchain.training.fit import fit
from mnet.toolchain.training.generator_sizes import forms_table
from mnet.toolchain.training.hardware import DEFAULT_HARDWARE, Hardware
from mnet.toolchain.training.loggers import CSV, check_logger, close_loggers, more_loggers
from mnet.toolchain.training.memory import check_memory, memory_bounds
from mnet.toolchain.training.on_device import on_device_rows, on_device_scorer, tune_on_device
from mnet.toolchain.training.preflight import preflight
from mnet.toolchain.training.run import (
    CHECKPOINT,
    check_config,
    load_module,
    read_metrics,
    save_modules,
    write_config,
    write_facts,
    write_items,
    write_json,
    write_metrics,
    write_policy,
    write_world,
)
from mnet.toolchain.training.scorers import Scorer, training_scorer
from mnet.toolchain.training.shift import NoShiftError, fit_shift


def train(
    config: Config, out: Path, console: Console, hardware: Hardware = DEFAULT_HARDWARE, logger: str = CSV
) -> dict[str, Any]:
    """Train what `config` describes into the run folder `out`; return validation metric and seconds of each fit.

    A run that was stopped resumes where it was, a finished one is left alone. `logger` is one of `LOGGERS`. Raises
    UserError when `out` holds a run of another config, or the hardware or the logger is not there.
    """
    check_logger(logger)
    check_config(out, config)
    if finished := read_metrics(out):
        console.print(f"{out} is finished; nothing to do")
        return finished
    data = load_data(config)
    for warning in getattr(data, "warnings", ()):
        console.print(f"warning: {config.data.name}: {warning}")
    facts = find_task(config.task.name).facts(data)
    task = build_task(config, facts)
    modules: dict[str, nn.Module] = {}
    for name in fits(config):
        lightning.seed_everything(config.seed, verbose=False)
        modules[name] = initial_module(name, task, config, data)
    check_memory(memory_bounds(task, config, data, modules), console)
    if isinstance(network := modules.get(GENERATED), MetaNetwork):
        if not (out / "fits").is_dir():
            splits = task.splits(data, network)
            preflight(task, network, splits, lambda what, found: console.print(f"{what}: {found}"))
        console.print(forms_table(network))
    write_config(out, config)
    write_facts(out, facts)
    if item_ids := getattr(data, "item_ids", None):
        write_items(out, item_ids)
    stages = Stages(config.seed, out, console, hardware, logger)
    for name, settings in fits(config).items():
        trained_as = build_task(cloud_training(config), facts) if name == CLOUD else task
        trained_as = task.earlier() if name == EARLY else trained_as
        teacher = tuple(modules[of] for of in {DISTILLED: (CLOUD,), WORLD: (EARLY,)}.get(name, ()))
        splits = trained_as.splits(data, modules[name], *teacher)
        if name in (DIRECT, GENERATED) and config.metanetwork and config.metanetwork.start == STATIC:
            start_from(modules[STATIC], modules[name])
        if name in (DIRECT, GENERATED) and CLOUD in modules:
            look_through(modules[CLOUD], modules[name])
        lightning.seed_everything(config.seed, verbose=False)
        trained = training_scorer(name, trained_as, config, modules)
        stages.run(name, modules[name], trained, splits, settings)
    if config.fine_tuning:
        splits = task.splits(data, modules[STATIC])
        stages.metrics[FINE_TUNED] = tune(task, modules[STATIC], config, splits, console)
    for name, row in on_device_rows(config).items():
        splits = task.splits(data, modules[row[0]])
        scorer = on_device_scorer(task, modules, row, splits)
        stages.metrics[name] = tune_on_device(name, scorer, splits, console)

    if WORLD in modules:
        write_world(out, task.world(modules[WORLD], data))
    save_modules(out / CHECKPOINT, **{name: modules[name] for name in kept(config)})
    if isinstance(network, MetaNetwork):
        _write_shift(task, network, task.splits(data, network), out, console)
    write_curves(out, task.metrics[0])
    write_metrics(out, stages.metrics)
    return stages.metrics


def _write_shift(
    task: Task[Any], network: MetaNetwork, splits: Splits[Any], out: Path, console: Console
) -> None:
    """Leave the request policy `shift` in the run, or say why there is none."""
    try:
        policy = fit_shift(task, network, splits)
    except NoShiftError as error:
        console.print(f"policy: no shift, {error}")
        return
    console.print(f"policy: shift, half-life {policy.half_life:g} samples, threshold {policy.threshold:.3g}")
    write_policy(out, policy)


def start_from(static: nn.Module, network: nn.Module) -> None:
    """Give the device model of a MetaNetwork the weights of a finished static one."""
    assert isinstance(network, MetaNetwork)
    own = network.device_model.state_dict()  # of what the static one does not have: factors
    network.device_model.load_state_dict(own | static.state_dict())


def look_through(cloud: nn.Module, network: nn.Module) -> None:
    """Have a context encoder that reads images do so through the finished cloud model."""
    assert isinstance(network, MetaNetwork)
    encoder = network.context_encoder
    if isinstance(encoder, ImageReader) and encoder.classifier is not None:
        encoder.classifier.load_state_dict(cloud.state_dict())


class Stages:
    """Runs one fit after the other, and skips those that an earlier, stopped process has finished."""

    def __init__(
        self,
        seed: int,
        out: Path,
        console: Console,
        hardware: Hardware = DEFAULT_HARDWARE,
        logger: str = CSV,
    ) -> None:
        self.seed = seed
        self.out = out
        self.folder = out / "fits"
        self.logger = logger
        self.console = console
        self.hardware = hardware
        self.metrics: dict[str, Any] = {}

    def run(
        self, name: str, model: nn.Module, scorer: Scorer, splits: Splits[Any], config: FitConfig
    ) -> None:
        """Bring `model`, which `scorer` holds, to its best epoch."""
        folder = self.folder / name
        weights, done = folder / "best.safetensors", folder / "done.json"
        if done.is_file():
            self.console.print(f"{name}: done before")
            load_module(weights, model)
            self.metrics[name] = json.loads(done.read_text(encoding="utf-8"))
            return
        if isinstance(config, StaticConfig) and config.checkpoint is not None:
            fill(model, read_state(config.checkpoint), config.checkpoint)
        if isinstance(config, StaticConfig) and config.is_finished:
            self.console.print(f"{name}: {config.checkpoint} as it is")
            metric = scorer.task.metrics[0]
            value = validated(scorer.eval(), splits, metric)
            self._keep(name, model, {metric: value, "seconds": 0.0})
            return
        resumes = (folder / "last.ckpt").is_file()
        self.console.print(f"{name}: {'resumes after its last finished epoch' if resumes else 'starts'}")
        started = time.perf_counter()
        loggers = more_loggers(self.logger, self.out, name)
        live = LiveCurves(self.out, scorer.task.metrics[0])
        fitted = fit(scorer, splits, config, self.seed, folder, self.hardware, loggers, [live])
        close_loggers(loggers)
        if fitted.best == fitted.most:
            self.console.print(
                f"{name}: the last of {fitted.most} epochs was the best; more steps may make it better"
            )
        seconds = round(time.perf_counter() - started, 1)
        self._keep(name, model, {scorer.task.metrics[0]: fitted.value, "seconds": seconds})

    def _keep(self, name: str, model: nn.Module, metrics: dict[str, float]) -> None:
        """Note that a fit is finished."""
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        save_modules(folder / "best.safetensors", model=model)
        self.metrics[name] = metrics
        write_json(folder / "done.json", metrics)
