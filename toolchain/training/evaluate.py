"""Test figures of one or several runs of the same config: methods side by side, mean over seeds, gain with interval."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from toolchain.errors import UserError
from toolchain.tasks.ranking import METRICS, metric_values, ranks
from toolchain.training.build import Material, load_material
from toolchain.training.fit import EVALUATION_BATCH
from toolchain.training.run import Run, load_run
from toolchain.training.scorers import GeneratedScorer, StaticScorer

RESAMPLES = 10_000
STATIC, DEFAULT, GENERATED = "static", "default pack", "metanetwork"

FloatArray = NDArray[np.float64]


def evaluate(paths: Sequence[Path]) -> dict[str, Any]:
    """Test every run in `paths`. Raises UserError when they are not seeds of one config.

    Returns `task, dataset, model, protocol, seeds, queries`, `metrics` {method: {metric: {mean, std}}} and, where there is a
    MetaNetwork, `gain` {metric: {relative, low, high}} of it over the static model.
    """
    runs = [load_run(path) for path in paths]
    first = runs[0]
    for run in runs[1:]:
        if run.config.model_copy(update={"seed": first.config.seed}) != first.config:
            raise UserError(f"{run.path} and {first.path} differ in more than the seed; evaluate them apart")
    material = load_material(first.config)
    users: NDArray[np.int64] = np.empty(0, dtype=np.int64)
    values: dict[str, dict[str, list[FloatArray]]] = {}
    for run in runs:
        for method, scorer in scorers(run).items():
            users, by_metric = score(scorer, material)
            for metric, array in by_metric.items():
                values.setdefault(method, {}).setdefault(metric, []).append(array)
    report: dict[str, Any] = {
        "task": first.config.task,
        "dataset": first.config.data.name,
        "model": first.config.model,
        "protocol": first.config.protocol,
        "seeds": [run.config.seed for run in runs],
        "queries": len(users),
        "metrics": {
            method: {metric: _mean_and_std(seeds) for metric, seeds in by_metric.items()}
            for method, by_metric in values.items()
        },
    }
    if GENERATED in values:
        report["gain"] = {
            metric: bootstrap_gain(
                users, np.mean(values[STATIC][metric], axis=0), np.mean(values[GENERATED][metric], axis=0)
            )
            for metric in METRICS
        }
    return report


def scorers(run: Run) -> dict[str, nn.Module]:
    """The methods that a run holds, by the name of their row."""
    methods: dict[str, nn.Module] = {STATIC: StaticScorer(run.static)}
    if run.trained is not None:
        methods[DEFAULT] = StaticScorer(run.trained.device_model)
        methods[GENERATED] = GeneratedScorer(run.trained)
    return methods


@torch.inference_mode()
def score(scorer: nn.Module, material: Material) -> tuple[NDArray[np.int64], dict[str, FloatArray]]:
    """Every test query in a fixed order: its user int64 [N], and its value of each metric fp64 [N]."""
    users, values = [], []
    for packs in material.windows.test(EVALUATION_BATCH):
        logits, target = scorer(packs)
        wanted = target != 0
        values.append(metric_values(ranks(logits[wanted], target[wanted])))
        users.append(packs.user[:, None].expand(-1, packs.target[0].numel())[packs.target.flatten(1) != 0])
    return torch.cat(users).numpy(), {
        metric: torch.cat([batch[metric] for batch in values]).double().numpy() for metric in METRICS
    }


def bootstrap_gain(
    users: NDArray[np.int64], baseline: FloatArray, method: FloatArray, seed: int = 0
) -> dict[str, float]:
    """Relative gain of `method` over `baseline`, paired by query, and the 95 % percentile interval over users.

    Args:
        users: int64 [N], the user of each query; a resample draws whole users, since their queries hang together.
        baseline, method: fp64 [N], the metric of each query.
    """
    _, index = np.unique(users, return_inverse=True)
    base, ours = np.bincount(index, baseline), np.bincount(index, method)
    n_users = len(base)
    counts = np.random.default_rng(seed).multinomial(n_users, np.full(n_users, 1 / n_users), size=RESAMPLES)
    gains = (counts @ ours) / (counts @ base) - 1
    low, high = np.percentile(gains, (2.5, 97.5))
    return {"relative": float(ours.sum() / base.sum() - 1), "low": float(low), "high": float(high)}


def _mean_and_std(seeds: list[FloatArray]) -> dict[str, float]:
    means = [float(seed.mean()) for seed in seeds]
    return {"mean": float(np.mean(means)), "std": float(np.std(means, ddof=1)) if len(means) > 1 else 0.0}
