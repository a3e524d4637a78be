"""Tasks, their data and models by dotted path: the recipe knows none of them. One classifies, one is a regression."""

import inspect
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from mnet.toolchain.errors import UserError
from mnet.toolchain.tasks import Samples
from mnet.toolchain.training.config import parse_config
from mnet.toolchain.training.curves import read_curve
from mnet.toolchain.training.evaluate import evaluate
from mnet.toolchain.training.evaluate_bundle import evaluate_bundle
from mnet.toolchain.training.export_run import export_run
from mnet.toolchain.training.recipe import train
from mnet.toolchain.training.run import load_run
from tests.training.sensors import NextReading
from tests.training.turned import Turned

QUIET = Console(quiet=True)


def trained(folder: Path, task: str, model: dict[str, Any], encoder: str, **more: Any) -> Path:
    fit = {"epochs": 12, "learning_rate": 0.02, "batch_size": 16, "averaging": 0}
    config = {
        "task": f"tests.training.{task}",
        "data": {"name": "made-up"},
        "model": model,
        "static": fit,
        "metanetwork": {"context": {"name": encoder, "width": 16}, "fit": fit},
        **more,
    }
    train(parse_config(config, "test"), folder, QUIET)
    return folder


@pytest.fixture(scope="module")
def turned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own") / "turned"
    net = {"name": "tests.training.turned:Net", "width": 8}
    return trained(folder, "turned:Turned", net, "tests.training.turned:Clouds")


@pytest.fixture(scope="module")
def sensors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own") / "sensors"
    return trained(folder, "sensors:NextReading", {"name": "tests.training.sensors:Linear"}, "samples")


@pytest.mark.parametrize("task", [Turned, NextReading])
def test_a_task_of_ones_own_is_under_40_lines(task: type) -> None:
    assert len(inspect.getsource(task).splitlines()) < 40


def test_it_trains_and_the_metanetwork_knows_each_device(turned: Path) -> None:
    metrics = evaluate([turned], QUIET)["metrics"]
    # One weight for everyone cannot know which way a device is turned.
    assert metrics["static"]["accuracy"]["mean"] < 0.7
    assert metrics["metanetwork"]["accuracy"]["mean"] > 0.8


def test_its_bundle_is_swappable_and_as_good_as_the_run(turned: Path, tmp_path: Path) -> None:
    bundle = export_run(turned, "android", tmp_path / "bundle")
    assert [slot.parameter for slot in bundle.manifest.slots] == ["hidden.weight", "out.weight", "out.bias"]
    found = evaluate_bundle(turned, bundle, packs=20, console=QUIET)
    assert found["refused"] == 0
    assert found["metrics"]["artifact"]["accuracy"] == pytest.approx(found["metrics"]["eager"]["accuracy"])


def test_its_context_is_what_a_device_uploads(turned: Path) -> None:
    loaded = load_run(turned)
    context = loaded.task.prepared(loaded.metanetwork, loaded.task.context([[0.1, 0.2]] * 32))
    generated = loaded.metanetwork.generate(context)
    assert generated["out.weight"].shape == (1, 2, 8)
    assert all(torch.isfinite(value).all() for value in generated.values())


@pytest.mark.parametrize(
    "sample",
    [
        [0.1], [0.1, 0.2, 0.3], [0.1, "x"], [0.1, None], [0.1, float("inf")], [0.1, 10**400], [0.1, 3e38], [0.1, True],
        [[], []], 7, {"x": 1},
    ],
)  # fmt: skip
def test_what_is_no_sample_is_refused(turned: Path, sample: Any) -> None:
    with pytest.raises(ValueError, match="sample"):
        load_run(turned).task.context([sample])


def test_the_epoch_with_the_lowest_error_is_kept(sensors: Path) -> None:
    errors = read_curve(sensors / "fits" / "metanetwork")["squared error"]
    best = json.loads((sensors / "fits" / "metanetwork" / "done.json").read_text())["squared error"]
    assert best == pytest.approx(np.min(errors))
    assert best < 0.5 * np.max(errors)


def test_a_regression_is_evaluated(sensors: Path) -> None:
    metrics = evaluate([sensors], QUIET)["metrics"]
    assert metrics["metanetwork"]["squared error"]["mean"] < 0.5 * metrics["static"]["squared error"]["mean"]
    gain = json.loads((sensors / "evaluation.json").read_text())["gain"]["metanetwork"]["squared error"]
    assert (gain["kind"], gain["relative"] > 0.5) == ("error reduction", True)


def test_a_regression_is_exported(sensors: Path, tmp_path: Path) -> None:
    bundle = export_run(sensors, "android", tmp_path / "bundle")
    found = evaluate_bundle(sensors, bundle, packs=20, console=QUIET)
    assert found["refused"] == 0
    eager, artifact = (found["metrics"][how]["squared error"] for how in ("eager", "artifact"))
    assert artifact == pytest.approx(eager, rel=1e-3)


def test_fine_tuning_without_a_loss_of_its_own_is_refused_before_training(tmp_path: Path) -> None:
    model = {"name": "tests.training.sensors:Linear"}
    with pytest.raises(UserError, match="has no own_loss to fine-tune by"):
        trained(
            tmp_path / "run",
            "sensors:NextReading",
            model,
            "samples",
            fine_tuning={"learning_rates": [0.01], "steps": [1]},
        )
    assert not (tmp_path / "run").exists()


def test_too_few_devices_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    few = Samples((torch.zeros(80, 4),), torch.zeros(80), torch.arange(80) // 40)
    monkeypatch.setattr(NextReading, "load", lambda name, path, **settings: few)
    model = {"name": "tests.training.sensors:Linear"}
    with pytest.raises(UserError, match=r"2 devices have the 40 samples .* at least 3 are needed"):
        trained(tmp_path / "run", "sensors:NextReading", model, "samples")
