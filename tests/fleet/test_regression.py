"""A regression task of one's own through the fleet: replayed and simulated by its own metric, and refused by name where
a task has nothing to replay."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from mnet.toolchain.demo.story import tell
from mnet.toolchain.errors import UserError
from mnet.toolchain.fleet.simulation import Plan, simulate
from mnet.toolchain.fleet.simulation_report import policy_header, simulation_report
from mnet.toolchain.fleet.timelines import change_hands, draw_timelines
from mnet.toolchain.training.config import parse_config
from mnet.toolchain.training.export_run import export_run
from mnet.toolchain.training.recipe import train
from mnet.toolchain.training.run import load_run

FIT = {"epochs": 6, "learning_rate": 0.02, "batch_size": 16, "averaging": 0}
CONFIG: dict[str, Any] = {
    "task": "tests.training.sensors:NextReading",
    "data": {"name": "made-up"},
    "model": {"name": "tests.training.sensors:Linear"},
    "static": FIT,
    "metanetwork": {"context": {"name": "samples", "width": 16}, "fit": FIT},
}


def test_sensors_are_simulated_by_their_own_metric(tmp_path: Path) -> None:
    train(parse_config(CONFIG, "test"), tmp_path / "run", Console(quiet=True))
    run, bundle = load_run(tmp_path / "run"), export_run(tmp_path / "run", "android", tmp_path / "bundle")
    short = [replace(line, items=line.items[: line.start + 24]) for line in draw_timelines(run)[:2]]
    plan, events = Plan(change_hands(short, 16, seed=0), ["always"], seed=0), list[dict[str, Any]]()
    outcome = simulate(run, bundle, plan, events.append, lambda done, of: None)
    report = simulation_report(run, plan, 16, outcome)
    assert outcome.harmless
    assert outcome.calm["swapped"] == outcome.calm["accepted"] > 0
    assert report["metric"] == "squared error"
    assert "squared error" in policy_header(report)
    found = report["policies"]["always"]["metric"]
    assert found["live"] < found["static"], "an error: less is better"


def test_a_task_without_timelines_is_refused_by_name_before_it_is_trained(tmp_path: Path) -> None:
    config = {
        "task": {"name": "classification", "context": 3, "serves": 2},
        "data": {"name": "tests.tasks.images:load_greys"},
        "model": {"name": "cnn", "width": 4, "features": 8},
        "static": {"epochs": 1},
        "metanetwork": {"context": {"name": "set", "width": 8}, "fit": {"epochs": 1}},
    }
    with pytest.raises(UserError, match="runs of task classification cannot be replayed on phones"):
        tell(parse_config(config, "test"), tmp_path / "demo", 3, Console(quiet=True))
    assert not (tmp_path / "demo").exists()
