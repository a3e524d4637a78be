"""What the methods cost on this machine: to train, and to fit the model to one user. Timed in turns, never alone."""

import statistics
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import lightning
import torch
from rich.console import Console

from mnet.toolchain.console import track
from mnet.toolchain.errors import UserError
from mnet.toolchain.tasks.splits import Splits
from mnet.toolchain.training.build import (
    FINE_TUNED,
    GENERATED,
    build_module,
    fits,
    load_data,
    to_fine_tune,
)
from mnet.toolchain.training.config import Config
from mnet.toolchain.training.fit import adamw
from mnet.toolchain.training.report_file import write_report
from mnet.toolchain.training.run import Run, load_run, read_metrics
from mnet.toolchain.training.scorers import FineTunedScorer, GeneratedScorer, training_scorer

ROUNDS = 20
# How many devices are served at a time: one that asks by itself, and a batch as a cloud makes it.
DEVICES = (1, 64)


def cost(path: Path, rounds: int, console: Console) -> dict[str, Any]:
    """Time the run's methods `rounds` times, in turns on the same batches; leave `cost.json` in its folder.

    Returns `threads`; `training` {method: samples per second}; and where the run has fine-tuning and a MetaNetwork,
    `adaptation`: the `steps` and `learning_rate` of fine-tuning, as chosen on validation, and `devices` {how many at a
    time: {generation_ms, fine_tuning_ms, ratio}}, medians for one device. Raises UserError.
    """
    run, splits = _opened(path)
    report: dict[str, Any] = {
        "threads": torch.get_num_threads(),
        "training": _training(run, splits, rounds, console),
    }
    if _adapts(run):
        report["adaptation"] = _adaptation(run, splits, rounds, console)
    write_report(path / "cost.json", report)
    return report


def cost_of_adapting(path: Path, rounds: int, console: Console) -> dict[str, Any]:
    """The `adaptation` of `cost` alone; UserError where the run has no fine-tuning or no MetaNetwork."""
    run, splits = _opened(path)
    if not _adapts(run):
        raise UserError(
            f"{path} was trained without a MetaNetwork or fine-tuning: there is nothing to compare"
        )
    return _adaptation(run, splits, rounds, console)


def _opened(path: Path) -> tuple[Run, Splits[Any]]:
    run = load_run(path)
    return run, run.task.splits(load_data(run.config), *run.modules.values())


def _adapts(run: Run) -> bool:
    return run.config.fine_tuning is not None and GENERATED in run.modules


def _training(run: Run, splits: Splits[Any], rounds: int, console: Console) -> dict[str, float]:
    """Samples that each method trains on in a second, all in batches of the static model's size."""
    lightning.seed_everything(run.config.seed, verbose=False)
    modules = {name: build_module(name, run.task, run.config) for name in fits(run.config)}
    steps = {name: _training_step(name, run, run.config, modules) for name in modules}
    samples = 0
    seconds = dict.fromkeys(steps, 0.0)
    batches = _rounds(splits.training(run.config.static.batch_size, run.config.seed), rounds)
    for turn, batch in enumerate(track(batches, "training steps", total=rounds + 1, console=console)):
        for name, step in steps.items():
            spent = _seconds(lambda step=step, batch=batch: step(batch))  # type: ignore[misc]
            if turn:  # the first one warms up
                seconds[name] += spent
        if turn:
            samples += int(run.task.has_target(batch).sum())
    return {name: samples / spent for name, spent in seconds.items()}


def _training_step(
    name: str, run: Run, config: Config, modules: dict[str, torch.nn.Module]
) -> Callable[[Any], None]:
    scorer = training_scorer(name, run.task, config, modules).train()
    optimizer = adamw(scorer, fits(config)[name])

    def step(batch: Any) -> None:
        optimizer.zero_grad()
        scorer.loss(batch).total.backward()
        optimizer.step()

    return step


def _adaptation(run: Run, splits: Splits[Any], rounds: int, console: Console) -> dict[str, Any]:
    """One generation against one fine-tuning, of the same devices."""
    chosen = (read_metrics(run.path) or {})[FINE_TUNED]
    model, tuned = to_fine_tune(run.config, run.static)
    generate = GeneratedScorer(run.task, run.metanetwork).eval()
    tune = FineTunedScorer(run.task, model, tuned, chosen["learning_rate"], chosen["steps"])
    devices = {}
    for count in DEVICES:
        spent: dict[str, list[float]] = {"generation_ms": [], "fine_tuning_ms": []}
        # A batch of users without a test holds no pack.
        batches = _rounds((each for each in splits.test(count) if len(run.task.devices(each))), rounds)
        for batch in track(batches, f"adapting {count}", total=rounds + 1, console=console):
            packs = len(run.task.devices(batch))
            for name, method in zip(spent, (generate, tune), strict=True):
                with torch.no_grad():
                    spent[name].append(_seconds(lambda m=method, b=batch: m.packs(b)) * 1e3 / packs)  # type: ignore[misc]
        medians = {name: statistics.median(times[1:]) for name, times in spent.items()}
        devices[str(count)] = {**medians, "ratio": medians["fine_tuning_ms"] / medians["generation_ms"]}
    return {"steps": chosen["steps"], "learning_rate": chosen["learning_rate"], "devices": devices}


def _rounds(batches: Any, rounds: int) -> Any:
    """The first batches, one more than `rounds`."""
    return islice(batches, rounds + 1)


def _seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started
