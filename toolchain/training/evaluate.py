"""Test figures of one or several runs of a config: methods side by side, mean over seeds, gain with interval."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from device_models.sasrec import SASRec
from toolchain.errors import UserError
from toolchain.tasks.ranking import METRICS, metric_values, ranks
from toolchain.tasks.windows import Windows
from toolchain.training.build import load_material
from toolchain.training.fit import EVALUATION_BATCH, Scorer
from toolchain.training.run import Run, load_run, write_json
from toolchain.training.scorers import GeneratedScorer, StaticScorer

RESAMPLES = 10_000
STATIC, DEFAULT, GENERATED = "static", "default pack", "metanetwork"

FloatArray = NDArray[np.float64]


def evaluate(paths: Sequence[Path], console: Console) -> dict[str, Any]:
    """Test every run in `paths`; leave `evaluation.json` and `evaluation.png` in the first of them.

    Returns `task, dataset, model, protocol, ranking, seeds, queries, metrics` {method: {metric: {mean, std}}}
    and, where there is a MetaNetwork, `gain` {metric: {relative, low, high}} over the static model. Raises
    UserError when the runs are not seeds of one config.
    """
    runs = [load_run(path) for path in paths]
    config = runs[0].config
    for run in runs[1:]:
        if run.config.model_copy(update={"seed": config.seed}) != config:
            raise UserError(f"{run.path} and {paths[0]} differ in more than the seed; evaluate them apart")
    windows = load_material(config).windows
    tests = [(method, scorer) for run in runs for method, scorer in scorers(run).items()]
    values: dict[str, list[dict[str, FloatArray]]] = {}
    for method, scorer in track(tests, "testing", console=console):
        users, by_metric = score(scorer, windows)
        values.setdefault(method, []).append(by_metric)
    report: dict[str, Any] = {
        "task": config.task,
        "dataset": config.data.name,
        "model": config.model,
        "protocol": config.protocol,
        "ranking": config.ranking,
        "seeds": [run.config.seed for run in runs],
        "queries": len(users),
        "metrics": {
            method: {metric: _mean_and_std([seed[metric] for seed in seeds]) for metric in METRICS}
            for method, seeds in values.items()
        },
    }
    if GENERATED in values:
        report["gain"] = {
            metric: bootstrap_gain(users, _mean(values[STATIC], metric), _mean(values[GENERATED], metric))
            for metric in METRICS
        }
    write_json(paths[0] / "evaluation.json", report)
    _plot(report, paths[0] / "evaluation.png")
    return report


def scorers(run: Run) -> dict[str, Scorer]:
    """The methods that a run holds, by the name of their row."""
    methods: dict[str, Scorer] = {STATIC: StaticScorer(run.static)}
    if run.trained is not None:
        assert isinstance(run.trained.device_model, SASRec)
        methods[DEFAULT] = StaticScorer(run.trained.device_model)
        methods[GENERATED] = GeneratedScorer(run.trained)
    return methods


@torch.inference_mode()
def score(scorer: Scorer, windows: Windows) -> tuple[NDArray[np.int64], dict[str, FloatArray]]:
    """Every test query in a fixed order: its user int64 [N], and its value of each metric fp64 [N]."""
    users, values = [], []
    for packs in windows.test(EVALUATION_BATCH):
        logits, target = scorer(packs)
        wanted = target != 0
        values.append(metric_values(ranks(logits[wanted], target[wanted])))
        users.append(packs.user.repeat_interleave((packs.target != 0).sum(dim=(1, 2))))
    return torch.cat(users).numpy(), {
        metric: torch.cat([batch[metric] for batch in values]).double().numpy() for metric in METRICS
    }


def bootstrap_gain(
    users: NDArray[np.int64], baseline: FloatArray, method: FloatArray, seed: int = 0
) -> dict[str, float] | None:
    """Relative gain of `method` over `baseline`, paired by query, and the 95 % percentile interval over users.

    None where the baseline never scores: nothing is a multiple of zero.

    Args:
        users: int64 [N], of each query; a resample draws whole users, since their queries hang together.
        baseline, method: fp64 [N], the metric of each query.
    """
    _, index = np.unique(users, return_inverse=True)
    base, ours = np.bincount(index, baseline), np.bincount(index, method)
    if not base.any():
        return None
    n_users = len(base)
    counts = np.random.default_rng(seed).multinomial(n_users, np.full(n_users, 1 / n_users), size=RESAMPLES)
    of_base, of_ours = counts @ base, counts @ ours
    gains = of_ours[of_base > 0] / of_base[of_base > 0] - 1
    low, high = np.percentile(gains, (2.5, 97.5))
    return {"relative": float(ours.sum() / base.sum() - 1), "low": float(low), "high": float(high)}


def gain_text(gain: dict[str, float] | None) -> str:
    """A gain for people, as `+7.0% [+4.8%, +9.3%]`."""
    return (
        "undefined" if gain is None else f"{gain['relative']:+.1%} [{gain['low']:+.1%}, {gain['high']:+.1%}]"
    )


def _mean(seeds: list[dict[str, FloatArray]], metric: str) -> FloatArray:
    return np.mean([seed[metric] for seed in seeds], axis=0)


def _mean_and_std(seeds: list[FloatArray]) -> dict[str, float]:
    means = [float(seed.mean()) for seed in seeds]
    return {"mean": float(np.mean(means)), "std": float(np.std(means, ddof=1)) if len(means) > 1 else 0.0}


def _plot(report: dict[str, Any], file: Path) -> None:
    methods = report["metrics"]
    figure, panels = plt.subplots(1, len(METRICS), figsize=(4 * len(METRICS), 3), layout="constrained")
    for panel, metric in zip(panels, METRICS, strict=True):
        figures = [values[metric] for values in methods.values()]
        panel.bar(list(methods), [f["mean"] for f in figures], yerr=[f["std"] for f in figures], capsize=4)
        panel.set(title=metric)
    figure.suptitle(f"{report['dataset']}/{report['model']}, {report['protocol']}, {report['ranking']} items")
    figure.savefig(file, dpi=120)
    plt.close(figure)
