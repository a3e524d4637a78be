"""Test figures of one or several runs of a config: methods side by side, mean over seeds, gains with intervals."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor

from mnet.toolchain.console import track
from mnet.toolchain.errors import UserError
from mnet.toolchain.tasks import Task
from mnet.toolchain.tasks.splits import Splits
from mnet.toolchain.training.bootstrap import FloatArray, Gain, bootstrap_gains
from mnet.toolchain.training.build import GENERATED, STATIC, load_data
from mnet.toolchain.training.methods import Method, choose, pack_kinds, run_methods
from mnet.toolchain.training.run import Run, load_run, write_json

BATCH = 64

Values = dict[str, FloatArray]


def evaluate(paths: Sequence[Path], console: Console, methods: str = "all") -> dict[str, Any]:
    """Test every run in `paths`; leave `evaluation.json` and `evaluation.png` in the first of them.

    Returns `task, dataset, model, settings, seeds`, the checkpoints' fingerprints as `generators`, `queries`,
    `equal_cost`, the method that gains are over; `metrics`
    {method: {metric: {mean, std}}}, std null of a single seed; `gain` {method: {metric: {relative, low, high, p} |
    null}} over the equal-cost method, and `gain_over_static` the same over the static model; `packs` {method:
    {made_for, upload, bytes}}. Raises UserError when the runs are not seeds of one config.
    """
    runs = [load_run(path) for path in paths]
    config = runs[0].config
    for run in runs[1:]:
        if run.config.model_copy(update={"seed": config.seed}) != config:
            raise UserError(f"{run.path} and {paths[0]} differ in more than the seed; evaluate them apart")
    owners, values = _test(runs, methods, console)
    report: dict[str, Any] = {
        "task": config.task.name,
        "dataset": config.data.name,
        "model": config.model.name,
        "settings": config.task.settings,
        "seeds": [run.config.seed for run in runs],
        "generators": [run.fingerprint for run in runs],
        "queries": len(owners),
        "equal_cost": config.equal_cost,
        "metrics": {
            method: {metric: _mean_and_std([seed[metric] for seed in seeds]) for metric in seeds[0]}
            for method, seeds in values.items()
        },
        "gain": _gains(owners, values, config.equal_cost, runs[0].task.lower_is_better),
        "packs": {method: kind._asdict() for method, kind in pack_kinds(runs[0]).items() if method in values},
        "gain_over_static": _gains(owners, values, STATIC, runs[0].task.lower_is_better),
    }
    write_json(paths[0] / "evaluation.json", report)
    _plot(report, paths[0] / "evaluation.png")
    return report


def _test(
    runs: Sequence[Run], wanted: str, console: Console
) -> tuple[NDArray[np.int64], dict[str, list[Values]]]:
    """Owners of the test queries, and each method's values, one entry a seed."""
    data = load_data(runs[0].config)
    splits = runs[0].task.splits(data, *runs[0].modules.values())
    tests = [
        (name, method) for run in runs for name, method in choose(run_methods(run, data), wanted, run).items()
    ]
    values: dict[str, list[Values]] = {}
    batches = track(splits.test(BATCH), "testing", console=console)
    owners, found = score_all(runs[0].task, [method for _, method in tests], batches)
    for (name, _), of_method in zip(tests, found, strict=True):
        values.setdefault(name, []).append(of_method)
    return owners, values


def score(task: Task[Any], method: Method, splits: Splits[Any]) -> tuple[NDArray[np.int64], Values]:
    """Every test query in a fixed order: whose it is, int64 [N], and its value of each metric, fp64 [N]."""
    owners, (values,) = score_all(task, [method], splits.test(BATCH))
    return owners, values


@torch.no_grad()
def score_all(
    task: Task[Any], methods: Sequence[Method], batches: Iterable[Any]
) -> tuple[NDArray[np.int64], list[Values]]:
    """As `score`, of several methods on the same batches: to cut a batch takes as long as to score it."""
    owners: list[Tensor] = []
    values: list[list[Mapping[str, Tensor]]] = [[] for _ in methods]
    for batch in batches:
        for method, of_method in zip(methods, values, strict=True):
            of_method.append(task.scores(method(batch), batch))
        owners.append(task.owners(batch))
    return torch.cat(owners).numpy(), [
        {metric: torch.cat([each[metric] for each in of_method]).double().numpy() for metric in of_method[0]}
        for of_method in values
    ]


def _gains(
    owners: NDArray[np.int64], values: dict[str, list[Values]], baseline: str, lower: Sequence[str]
) -> dict[str, dict[str, Gain | None]]:
    """Of every method over `baseline`, in each metric, all from the same resamples of users and seeds."""
    metrics = list(values[baseline][0])
    base, *methods = (
        np.stack([np.stack([seed[metric] for metric in metrics], axis=1) for seed in seeds])
        for seeds in (values[baseline], *values.values())
    )
    errors = [metric in lower for metric in metrics] * len(methods)
    stacked = np.tile(base, len(methods)), np.concatenate(methods, axis=2)
    gains = iter(bootstrap_gains(owners, *stacked, lower=errors))
    return {method: {metric: next(gains) for metric in metrics} for method in values}


def _mean_and_std(seeds: list[FloatArray]) -> dict[str, float | None]:
    means = [float(seed.mean()) for seed in seeds]
    return {"mean": float(np.mean(means)), "std": float(np.std(means, ddof=1)) if len(means) > 1 else None}


def figure_text(values: Mapping[str, float | None]) -> str:
    """Mean and deviation for people, as `0.1190 ± 0.0007`; the mean alone where there is one seed."""
    return f"{values['mean']:.4f}" + (f" ± {values['std']:.4f}" if values["std"] is not None else "")


def seeds_text(report: Mapping[str, Any]) -> str:
    """What a report's figures and intervals are over, as a sentence."""
    seeds = report["seeds"]
    if len(seeds) == 1:
        return f"one seed ({seeds[0]}); intervals of 95 % by paired bootstrap over users"
    return (
        f"mean ± deviation over seeds {', '.join(map(str, seeds))}; intervals of 95 % by paired bootstrap over users "
        "and seeds"
    )


def _plot(report: dict[str, Any], file: Path) -> None:
    """One panel for each of the first two metrics: a bar a method, deviation over seeds as error bar."""
    methods = sorted(report["metrics"].items(), key=lambda item: item[0] == GENERATED)
    metrics = list(methods[0][1])[:2]
    figure, panels = plt.subplots(
        1, len(metrics), figsize=(10, 1 + 0.4 * len(methods)), layout="constrained", squeeze=False
    )
    for panel, metric in zip(panels[0], metrics, strict=True):
        figures = [values[metric] for _, values in methods]
        panel.barh(
            [name for name, _ in methods],
            [f["mean"] for f in figures],
            xerr=[f["std"] or 0.0 for f in figures],
            capsize=3,
        )
        panel.set(title=metric)
    seeds = ", ".join(map(str, report["seeds"]))
    figure.suptitle(f"{report['dataset']}/{report['model']}, seed{'s' * (len(report['seeds']) > 1)} {seeds}")
    figure.savefig(file, dpi=120)
    plt.close(figure)
