"""The recipe of a run, top to bottom: the static device model, then the MetaNetwork.

The MetaNetwork trains a device model of its own from scratch. Started from the finished static one it gained about
half as much: embeddings that have settled for one head do not move far enough to serve many.
"""

import json
import time
from pathlib import Path
from typing import Any

import lightning
from rich.console import Console
from torch import nn

from toolchain.errors import UserError
from toolchain.tasks.windows import Windows
from toolchain.training.build import build_device_model, build_metanetwork, load_material
from toolchain.training.config import Config, FitConfig
from toolchain.training.curves import write_curves
from toolchain.training.fit import Scorer, fit
from toolchain.training.run import (
    CHECKPOINT,
    CONFIG,
    load_module,
    read_config,
    read_metrics,
    save_modules,
    write_config,
    write_json,
    write_metrics,
)
from toolchain.training.scorers import GeneratedScorer, StaticScorer


def train(config: Config, out: Path, console: Console) -> dict[str, Any]:
    """Train what `config` describes into the run folder `out`; return validation metric and seconds of each fit.

    A run that was stopped goes on where it was, a finished one is left alone. Raises UserError when `out`
    holds a run of another config.
    """
    if (out / CONFIG).is_file() and read_config(out) != config:
        raise UserError(f"{out} holds a run of another config; choose another --out, or remove it")
    if finished := read_metrics(out):
        console.print(f"{out} is finished; nothing to do")
        return finished
    write_config(out, config)
    material = load_material(config)
    n_items = material.interactions.n_items
    stages = Stages(material.windows, config.seed, out / "fits", console)

    lightning.seed_everything(config.seed, verbose=False)
    static = build_device_model(config, n_items)
    stages.run("static", static, StaticScorer(static), config.static)
    trained: dict[str, nn.Module] = {"static": static}
    if config.metanetwork:
        lightning.seed_everything(config.seed, verbose=False)
        metanetwork = build_metanetwork(config, config.metanetwork, n_items)
        scorer = GeneratedScorer(
            metanetwork, config.metanetwork.auxiliary_loss, config.metanetwork.default_share
        )
        stages.run("metanetwork", metanetwork, scorer, config.metanetwork.fit)
        trained["metanetwork"] = metanetwork

    save_modules(out / CHECKPOINT, **trained)
    write_curves(out)
    write_metrics(out, stages.metrics)
    return stages.metrics


class Stages:
    """Runs one fit after the other, and skips those that an earlier, stopped process has finished."""

    def __init__(self, windows: Windows, seed: int, folder: Path, console: Console) -> None:
        self.windows = windows
        self.seed = seed
        self.folder = folder
        self.console = console
        self.metrics: dict[str, Any] = {}

    def run(self, name: str, model: nn.Module, scorer: Scorer, config: FitConfig) -> None:
        """Bring `model`, which `scorer` holds, to its best epoch."""
        folder = self.folder / name
        weights, done = folder / "best.safetensors", folder / "done.json"
        if done.is_file():
            self.console.print(f"{name}: done before")
            load_module(weights, model)
            self.metrics[name] = json.loads(done.read_text(encoding="utf-8"))
            return
        goes_on = (folder / "last.ckpt").is_file()
        self.console.print(f"{name}: {'goes on after its last finished epoch' if goes_on else 'starts'}")
        started = time.perf_counter()
        best = fit(scorer, self.windows, config, self.seed, folder)
        save_modules(weights, model=model)
        self.metrics[name] = {"ndcg@10": best, "seconds": round(time.perf_counter() - started, 1)}
        write_json(done, self.metrics[name])
