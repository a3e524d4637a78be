"""How fast packs go stale: the test metric when one is generated only every k interactions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from rich.console import Console

from mnet.toolchain.console import track
from mnet.toolchain.errors import UserError
from mnet.toolchain.settings import Part
from mnet.toolchain.training.bootstrap import bootstrap_gain, gain_text
from mnet.toolchain.training.build import GENERATED, STATIC, build_task, load_data
from mnet.toolchain.training.config import task_settings
from mnet.toolchain.training.evaluate import score
from mnet.toolchain.training.run import load_run, write_json
from mnet.toolchain.training.scorers import GeneratedScorer, StaticScorer


def staleness(path: Path, every: Sequence[int], console: Console) -> dict[str, Any]:
    """Test the run once for each k in `every`; leave `staleness.json` and `staleness.png` in its folder.

    Returns `metric`, `static` and `curve`: `refresh`, the MetaNetwork's `value` and its `gain` over the static model.
    Raises UserError for a task whose packs are not refreshed, or a k that does not go into the context's length.
    """
    run = load_run(path)
    if "refresh" not in type(task_settings(run.config)).model_fields:
        raise UserError(
            f"{path}: the packs of {run.task.name} serve until the device changes; there is no curve"
        )
    data, metric = load_data(run.config), run.task.metrics[0]
    curve, static = [], 0.0
    for k in track(every, "testing", console=console):
        part = Part.model_validate({**run.config.task.model_dump(), "refresh": k})
        task = build_task(run.config.model_copy(update={"task": part}), run.facts)
        splits = task.splits(data, run.static)
        owners, of_static = score(task, StaticScorer(task, run.static), splits)
        _, generated = score(task, GeneratedScorer(task, run.metanetwork), splits)
        static = float(np.mean(of_static[metric]))
        curve.append(
            {
                "refresh": k,
                "value": float(np.mean(generated[metric])),
                "gain": bootstrap_gain(
                    owners, of_static[metric], generated[metric], lower=not task.higher_is_better
                ),
            }
        )
    report = {"metric": metric, STATIC: static, "curve": curve}
    write_json(path / "staleness.json", report)
    _plot(report, path / "staleness.png")
    return report


def staleness_rows(report: dict[str, Any]) -> list[list[str]]:
    """The curve for people: refresh, value, gain."""
    return [
        [str(point["refresh"]), f"{point['value']:.4f}", gain_text(point["gain"])]
        for point in report["curve"]
    ]


def _plot(report: dict[str, Any], file: Path) -> None:
    figure, panel = plt.subplots(figsize=(5, 3.2), layout="constrained")
    points = report["curve"]
    panel.plot([p["refresh"] for p in points], [p["value"] for p in points], marker="o", label=GENERATED)
    panel.axhline(report[STATIC], color="grey", linestyle="--", label=STATIC)
    panel.set(xscale="log", xlabel="interactions that one pack serves", ylabel=report["metric"])
    panel.legend()
    figure.savefig(file, dpi=120)
    plt.close(figure)
