"""Test figures of one or several runs of a config: methods side by side, mean over seeds, gains with intervals."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor

from mnet.export.bench.pictures import draw_bars, draw_intervals, ordered, picture
from mnet.toolchain.console import track
from mnet.toolchain.errors import UserError
from mnet.toolchain.tasks import Task
from mnet.toolchain.tasks.splits import Splits
from mnet.toolchain.training.bootstrap import FloatArray, Gain, bootstrap_gains, gain_heading
from mnet.toolchain.training.build import STATIC, load_data
from mnet.toolchain.training.methods import Method, choose, pack_kinds, run_methods
from mnet.toolchain.training.report_file import write_report
from mnet.toolchain.training.run import Run, load_run

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
    write_report(paths[0] / "evaluation.json", report)
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
    """Mean and deviation for people, as `0.1190 ± 0.0007`; the mean alone where there is one seed, or no deviation."""
    spread = f"{values['std'] or 0.0:.4f}"
    return f"{values['mean']:.4f}" + (f" ± {spread}" if float(spread) else "")


def seeds_text(report: Mapping[str, Any]) -> str:
    """What a report's figures and intervals are over, as a sentence."""
    seeds = report["seeds"]
    if len(seeds) == 1:
        return f"one seed ({seeds[0]}); intervals of 95 % by paired bootstrap over users"
    return (
        f"mean ± deviation over seeds {', '.join(map(str, seeds))}; intervals of 95 % by paired bootstrap over users "
        "and seeds"
    )


def rows_of(report: Mapping[str, Any]) -> list[str]:
    """The methods of an evaluation as tables and pictures list them."""
    return ordered(report["metrics"])


def draw_gains(axes: Axes, report: Mapping[str, Any], metric: str) -> None:
    """The gain of each method over the equal-cost one with its interval; a method without one is left out."""
    gains = {
        method: report["gain"][method][metric] for method in rows_of(report) if method != report["equal_cost"]
    }
    shown = {method: gain for method, gain in gains.items() if gain is not None}
    relative = all(gain["kind"] != "difference" for gain in shown.values())
    scale = 100 if relative else 1
    values = [tuple(scale * gain[of] for of in ("relative", "low", "high")) for gain in shown.values()]
    draw_intervals(axes, list(shown), values)
    axes.set_xlabel(
        f"{gain_heading(shown.values(), report['equal_cost'])}{', %' if relative else ''}\n95 % interval"
    )


def _plot(report: dict[str, Any], file: Path) -> None:
    """The first metric of each method, from 0, and what it gains over the equal-cost one with its interval."""
    methods = rows_of(report)
    metric = next(iter(report["metrics"][methods[0]]))
    figures = [report["metrics"][method][metric] for method in methods]
    with picture(file, 2, size=(10, 1.4 + 0.36 * len(methods))) as panels:
        values, gains = panels[0]
        draw_bars(values, methods, [each["mean"] for each in figures], [each["std"] for each in figures])
        seeds = "" if len(report["seeds"]) == 1 else "; bars: deviation over seeds"
        values.set(title=f"{report['dataset']}/{report['model']}", xlabel=f"{metric}{seeds}")
        draw_gains(gains, report, metric)
