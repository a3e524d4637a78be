"""World packs as `mnet evaluate` and `mnet staleness` measure them."""

from pathlib import Path

import pytest
import torch
from rich.console import Console

from mnet.toolchain.training.build import load_data
from mnet.toolchain.training.evaluate import evaluate
from mnet.toolchain.training.methods import BestOnValidation, run_methods
from mnet.toolchain.training.run import load_run
from mnet.toolchain.training.staleness import AGES, staleness

QUIET = Console(quiet=True)


def test_the_kinds_of_packs_stand_side_by_side(world_run: Path) -> None:
    report = evaluate(
        [world_run], QUIET, "world pack,default pack + world,cohort,metanetwork,metanetwork + world"
    )
    kinds = report["packs"]
    assert list(kinds) == [
        "world pack",
        "default pack + world",
        "cohort",
        "metanetwork",
        "metanetwork + world",
    ]
    world, everyone, cohort, own, both = kinds.values()
    assert cohort == own | {"made_for": "one of 8 cohorts"}
    assert world == everyone == {"made_for": "everyone", "upload": False, "bytes": 2 * 4 * 301}
    assert (own["upload"], both["upload"]) == (True, True)
    assert both["bytes"] == own["bytes"] + world["bytes"]


def test_world_packs_age_by_time_and_those_of_a_device_by_interactions(world_run: Path) -> None:
    report = staleness(world_run, [5], QUIET)
    assert [point["age"] for point in report["age"]] == list(AGES)
    assert [point["refresh"] for point in report["curve"]] == [5]
    figures = evaluate([world_run], QUIET, "world pack")["metrics"]
    session = report["age"][list(AGES).index("one session")]
    assert session["value"] == pytest.approx(figures["world pack"][report["metric"]]["mean"]), (
        "as it was trained"
    )
    assert len({point["value"] for point in report["age"]}) > 1, "another age is another state of the world"


def test_the_trend_is_the_one_that_is_best_on_validation(world_run: Path) -> None:
    run = load_run(world_run)
    data = load_data(run.config)
    trend = run_methods(run, data)["trend"]
    assert isinstance(trend, BestOnValidation)
    assert len(trend.trials) == 5
    splits = run.task.splits(data, *run.modules.values())
    values = []
    for trial in trend.trials:
        metric = run.task.metrics[0]
        scores = [run.task.scores(trial(batch), batch)[metric] for batch in splits.validation(7)]
        values.append(float(torch.cat(scores).mean()))
    assert trend.best is trend.trials[values.index(max(values))]
    assert max(values) > min(values)
    batch = next(iter(splits.test(8)))
    assert torch.equal(trend(batch), trend.best(batch))
