"""The recipe of a run, top to bottom: the static device model, then the MetaNetwork from it."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
from rich.console import Console
from torch import nn

from toolchain.errors import UserError
from toolchain.training.build import build_device_model, build_metanetwork, load_material
from toolchain.training.config import Config, FitConfig
from toolchain.training.curves import write_curves
from toolchain.training.fit import fit
from toolchain.training.run import (
    CHECKPOINT,
    CONFIG,
    load_modules,
    read_config,
    read_metrics,
    save_modules,
    write_config,
    write_metrics,
)
from toolchain.training.scorers import GeneratedScorer, StaticScorer


def train(config: Config, out: Path, console: Console) -> dict[str, Any]:
    """Train what `config` describes into the run folder `out` and return its metrics.

    A run that was stopped goes on where it was, a finished one is left alone. Raises UserError when `out` holds a run
    of another config.
    """
    if (out / CONFIG).is_file() and read_config(out) != config:
        raise UserError(f"{out} holds a run of another config; choose another --out, or remove it")
    if finished := read_metrics(out):
        console.print(f"{out} is finished; nothing to do")
        return finished
    write_config(out, config)
    material = load_material(config)
    windows, n_items = material.windows, material.interactions.n_items
    metrics: dict[str, Any] = {}

    def stage(
        name: str, scorer: Callable[[nn.Module], nn.Module], model: nn.Module, settings: FitConfig
    ) -> None:
        folder = out / "fits" / name
        weights = folder / "best.safetensors"
        if weights.is_file():
            console.print(f"{name}: done before")
        else:
            resumed = (folder / "last.ckpt").is_file()
            console.print(f"{name}: {'goes on from its last checkpoint' if resumed else 'starts'}")
            started = time.perf_counter()
            best = fit(scorer(model), windows, settings, config.seed, folder)
            save_modules(weights, model=model)
            metrics[name] = {"ndcg@10": best, "seconds": time.perf_counter() - started}
        load_modules(weights, model=model)

    lightning.seed_everything(config.seed, verbose=False)
    static = build_device_model(config, n_items)
    stage("static", StaticScorer, static, config.static)
    modules: dict[str, nn.Module] = {"static": static}
    if config.metanetwork:
        metanetwork = build_metanetwork(config, config.metanetwork, n_items)
        metanetwork.device_model.load_state_dict(static.state_dict())
        stage("metanetwork", GeneratedScorer, metanetwork, config.metanetwork.fit)
        modules["metanetwork"] = metanetwork
    save_modules(out / CHECKPOINT, **modules)
    write_curves(out)
    write_metrics(out, metrics)
    return metrics
