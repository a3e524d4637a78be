"""How fast packs go stale: personal ones by the interactions that they serve, world packs by their age."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from rich.console import Console
from torch import nn

from mnet.export.bench.pictures import BLUE, GREY, ORANGE, picture
from mnet.toolchain.console import track
from mnet.toolchain.errors import UserError
from mnet.toolchain.settings import Part
from mnet.toolchain.tasks import Task
from mnet.toolchain.tasks.freshness import Freshness
from mnet.toolchain.training.bootstrap import bootstrap_gain, gain_text
from mnet.toolchain.training.build import GENERATED, STATIC, WORLD, build_task, load_data
from mnet.toolchain.training.config import task_settings
from mnet.toolchain.training.evaluate import BATCH, score_all
from mnet.toolchain.training.methods import Method
from mnet.toolchain.training.report_file import write_report
from mnet.toolchain.training.run import load_run
from mnet.toolchain.training.scorers import GeneratedScorer, StaticScorer, WorldScorer

# How old a world pack is when it serves, as `task.freshness` says it.
AGES: Mapping[str, Freshness] = {
    "now": "latest",
    "10 minutes": 600,
    "one session": "session",
    "one day": 86_400,
    "one week": 604_800,
}


def staleness(path: Path, every: Sequence[int], console: Console) -> dict[str, Any]:
    """Test the run's packs as they age; leave `staleness.json` and `staleness.png` in its folder.

    Returns `metric`, `static`; `curve`, of the MetaNetwork's packs, for each k in `every`: `refresh`, `value` and its
    `gain` over the static model; and `age`, of world packs, for each of `AGES`: `age`, `value` and `gain`. Either is
    empty in a run without such packs. Raises UserError for a task whose packs do not age, or a k that does not go into
    the context's length.
    """
    run = load_run(path)
    known = type(task_settings(run.config)).model_fields
    if "refresh" not in known:
        raise UserError(
            f"{path}: the packs of {run.task.name} serve until the device changes; there is no curve"
        )
    data, metric = load_data(run.config), run.task.metrics[0]
    static = 0.0

    def point(
        changes: Mapping[str, Any], method: Callable[[Task[Any]], Method], *models: nn.Module
    ) -> dict[str, Any]:
        nonlocal static
        part = Part.model_validate({**run.config.task.model_dump(), **changes})
        task = build_task(run.config.model_copy(update={"task": part}), run.facts)
        splits = task.splits(data, run.static, *models)
        methods: list[Method] = [StaticScorer(task, run.static), method(task)]
        owners, (of_static, pushed) = score_all(task, methods, splits.test(BATCH))
        static = float(np.mean(of_static[metric]))
        gain = bootstrap_gain(owners, of_static[metric], pushed[metric], lower=not task.higher_is_better)
        return {"value": float(np.mean(pushed[metric])), "gain": gain}

    curve, age = [], []
    if GENERATED in run.modules:
        for k in track(every, "testing, by interactions", console=console):
            found = point({"refresh": k}, lambda task: GeneratedScorer(task, run.metanetwork))
            curve.append({"refresh": k, **found})
    if world := run.modules.get(WORLD):
        for name, freshness in track(list(AGES.items()), "testing, by age", console=console):
            # A pack for each interaction, or the later ones that it serves would find it older than that.
            found = point(
                {"freshness": freshness, "refresh": 1},
                lambda task: WorldScorer(task, run.static, world),
                world,
            )
            age.append({"age": name, **found})
    report = {"metric": metric, STATIC: static, "curve": curve, "age": age}
    write_report(path / "staleness.json", report)
    _plot(report, path / "staleness.png")
    return report


def staleness_rows(report: dict[str, Any], curve: str = "curve") -> list[list[str]]:
    """The `curve` or the `age` of a report for people: interactions or age, value, gain."""
    name = "refresh" if curve == "curve" else "age"
    return [[str(point[name]), f"{point['value']:.4f}", gain_text(point["gain"])] for point in report[curve]]


def draw_staleness(panel: Axes, report: Mapping[str, Any], kind: str) -> None:
    """What packs gain over the static model with intervals, by the interactions they serve or by their `age`."""
    points = [point for point in report[kind] if point["gain"] is not None]
    name, shade = (GENERATED, BLUE) if kind == "curve" else (WORLD, ORANGE)
    at = [point["refresh" if kind == "curve" else "age"] for point in points]
    scale = 1 if any(point["gain"]["kind"] == "difference" for point in points) else 100
    value, low, high = ([scale * point["gain"][of] for point in points] for of in ("relative", "low", "high"))
    panel.plot(at, value, "o-", color=shade, linewidth=2)
    panel.vlines(at, low, high, color=shade, linewidth=3, alpha=0.45)
    panel.axhline(0, color=GREY, linestyle="--", linewidth=1)
    panel.set(
        title=name, xlabel="interactions that one pack serves" if kind == "curve" else "age of the pack"
    )
    panel.set_ylabel(f"{report['metric']}, gain over static{', %' if scale == 100 else ''}")
    if kind == "curve":
        panel.set_xscale("log")
        panel.set_xticks(at, list(map(str, at)))
        panel.minorticks_off()


def _plot(report: dict[str, Any], file: Path) -> None:
    """One panel for each kind of pack that the run has."""
    kinds = [kind for kind in ("curve", "age") if report[kind]]
    with picture(file, max(1, len(kinds)), size=(5.5 * max(1, len(kinds)), 3.4)) as panels:
        for kind, panel in zip(kinds, panels[0], strict=False):
            draw_staleness(panel, report, kind)
