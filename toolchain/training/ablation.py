"""What each part of the MetaStabilizer is worth: none of them, each by itself, all of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from rich.console import Console

from mnet.export.bench.pictures import colours, draw_bars, name_ends, picture
from mnet.toolchain.console import track
from mnet.toolchain.errors import UserError
from mnet.toolchain.metanetwork import MetaNetwork
from mnet.toolchain.tasks import Task, find_task
from mnet.toolchain.tasks.splits import Splits
from mnet.toolchain.training.build import GENERATED, STATIC, build_task, initial_module, load_data
from mnet.toolchain.training.config import Config
from mnet.toolchain.training.curves import read_curve
from mnet.toolchain.training.evaluate import BATCH, score_all
from mnet.toolchain.training.recipe import Stages, start_from
from mnet.toolchain.training.report_file import write_report
from mnet.toolchain.training.run import check_config, write_config
from mnet.toolchain.training.scorers import GeneratedScorer, StaticScorer, training_scorer
from mnet.toolchain.training.successive_releases import ReleasedScorer, Steps, steps_at_inference

RESIDUAL, AVERAGING, WINDOWS, SMOOTHING = "residual", "averaging", "windows", "smoothing"
PARTS = (RESIDUAL, AVERAGING, WINDOWS, SMOOTHING)
VARIANTS: Mapping[str, frozenset[str]] = {
    "none": frozenset(),
    **{part: frozenset({part}) for part in PARTS},
    "all": frozenset(PARTS),
}
# Of the parts that a config leaves off: cuts of the context that are averaged, share of the release before.
CUTS, SHARE = 3, 0.5


@dataclass(frozen=True)
class Row:
    """What one variant shows.

    Attributes:
        metric: the task's first metric, on the test samples, released as the variant releases.
        default: the same of the default pack that this variant ships: what training it gains without a push.
        epochs_to_95: the first epoch, from 1, whose validation metric is within 5 % of the best one's.
        training_oscillation: standard deviation of the validation metric over the second half of the epochs.
        weight_change: |new - old| / |old| of the generated parameters when one sample enters the context, the mean.
        changed_lists: share of the top-10 lists that hold another item after it (the top class, of 10 or fewer).
        curve: validation metric by epoch.
    """

    metric: float
    default: float
    epochs_to_95: int
    training_oscillation: float
    weight_change: float
    changed_lists: float
    curve: list[float]


def ablate(config: Config, out: Path, console: Console) -> dict[str, Any]:
    """Train and test every variant of the config's MetaNetwork in the folder `out`; rerun to resume.

    Leaves `ablation.json` and `ablation.png` there and returns `metric`, `seed` and `variants` {name: Row}. Without
    the residual the weights are generated in full, from nothing. Raises UserError.
    """
    if config.metanetwork is None:
        raise UserError(f"{config.name} trains no MetaNetwork; there is nothing to take apart")
    check_config(out, config)
    data = load_data(config)
    write_config(out, config)
    task = build_task(config, find_task(config.task.name).facts(data))
    stages = Stages(config.seed, out, console)
    static = initial_module(STATIC, task, config, data)
    if config.metanetwork.start == STATIC:
        scorer = training_scorer(STATIC, task, config, {STATIC: static})
        stages.run(STATIC, static, scorer, task.splits(data, static), config.static)
    rows = {}
    for name, parts in VARIANTS.items():
        settings = variant(config, parts)
        lightning.seed_everything(config.seed, verbose=False)
        network = initial_module(GENERATED, task, settings, data)
        assert isinstance(network, MetaNetwork)
        if config.metanetwork.start == STATIC:
            start_from(static, network)
        splits = task.splits(data, network)
        # Smoothing begins after training: with or without it the same fit serves.
        fit_name = "-".join(part for part in PARTS if part in parts - {SMOOTHING}) or "none"
        scorer = training_scorer(GENERATED, task, settings, {GENERATED: network})
        assert settings.metanetwork and isinstance(scorer, GeneratedScorer)
        stages.run(fit_name, network, scorer, splits, settings.metanetwork.fit)
        curve = read_curve(out / "fits" / fit_name)[task.metrics[0]].tolist()
        share = SHARE if SMOOTHING in parts else 0.0
        rows[name] = _row(task, scorer, splits, curve, share, console, name)
    report = {
        "metric": task.metrics[0],
        "seed": config.seed,
        "cuts": CUTS,
        "share": SHARE,
        "variants": {name: vars(row) for name, row in rows.items()},
    }
    write_report(out / "ablation.json", report)
    _plot(report, out / "ablation.png")
    return report


def variant(config: Config, parts: frozenset[str]) -> Config:
    """The config with these parts of the stabilizer and no others; smoothing is none of its settings."""
    settings = config.metanetwork
    assert settings
    averaging = (settings.fit.averaging or 0.99) if AVERAGING in parts else 0.0
    changed = {
        "windows": max(settings.windows, CUTS) if WINDOWS in parts else 1,
        "fit": settings.fit.model_copy(update={"averaging": averaging}),
    }
    if RESIDUAL not in parts:
        changed |= {"form": "full", "rank": None, "bound": None}
    return config.model_copy(update={"metanetwork": settings.model_copy(update=changed)})


def _row(
    task: Task[Any],
    scorer: GeneratedScorer,
    splits: Splits[Any],
    curve: list[float],
    share: float,
    console: Console,
    name: str,
) -> Row:
    scorer.eval()
    batches = track(splits.test(BATCH), f"{name}: testing", console=console)
    default = StaticScorer(task, scorer.metanetwork.device_model)
    _, (values, shipped) = score_all(task, [ReleasedScorer(scorer, share), default], batches)
    steps: list[Steps] = [
        steps_at_inference(scorer, batch, share)
        for batch in track(splits.test(BATCH), f"{name}: one more sample", console=console)
    ]
    return Row(
        metric=float(values[task.metrics[0]].mean()),
        default=float(shipped[task.metrics[0]].mean()),
        epochs_to_95=_epochs_to_95(curve, task.higher_is_better),
        training_oscillation=float(np.std(curve[len(curve) // 2 :])),
        weight_change=float(torch.cat([step.weight_change for step in steps]).mean()),
        changed_lists=float(torch.cat([step.changed for step in steps]).float().mean()),
        curve=curve,
    )


def ablation_table(report: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the table for people."""
    header = [
        "stabilizer",
        f"{report['metric']}, test",
        "of its default pack",
        "epochs to 95 %",
        "std of validation, last half",
        "change of weights",
        "changed lists",
    ]
    rows = [
        [
            name,
            f"{row['metric']:.4f}",
            f"{row['default']:.4f}",
            str(row["epochs_to_95"]),
            f"{row['training_oscillation']:.5f}",
            f"{row['weight_change']:.2%}",
            f"{row['changed_lists']:.1%}",
        ]
        for name, row in report["variants"].items()
    ]
    return header, rows


def _epochs_to_95(curve: list[float], higher_is_better: bool) -> int:
    values = np.array(curve)
    near = values >= 0.95 * values.max() if higher_is_better else values <= values.min() / 0.95
    return 1 + int(np.argmax(near))


def _plot(report: dict[str, Any], file: Path) -> None:
    names, rows = list(report["variants"]), list(report["variants"].values())
    shades = colours(names)
    with picture(file, 3, size=(13, 3.6)) as panels:
        curves, weights, lists = panels[0]
        trained = [name for name in names if name != SMOOTHING]  # trained as "none"
        for name in trained:
            curve = report["variants"][name]["curve"]
            curves.plot(range(1, len(curve) + 1), curve, color=shades[name], linewidth=2)
        curves.set(xlabel="epoch", ylabel=f"{report['metric']}, validation")
        name_ends(curves, [(name, report["variants"][name]["curve"][-1]) for name in trained], shades)
        draw_bars(weights, names, [100 * row["weight_change"] for row in rows], [None] * len(rows))
        weights.set(xlabel="change of the weights by one more sample, %")
        draw_bars(lists, names, [100 * row["changed_lists"] for row in rows], [None] * len(rows))
        lists.set(xlabel="lists that change by one more sample, %")
