"""A task, its data and its model by dotted path: the recipe knows none of them."""

from pathlib import Path

import pytest
import torch
from rich.console import Console

from mnet.toolchain.training.config import parse_config
from mnet.toolchain.training.evaluate import evaluate
from mnet.toolchain.training.export_run import export_run
from mnet.toolchain.training.recipe import train
from mnet.toolchain.training.run import load_run

QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    fit = {"epochs": 25, "learning_rate": 0.02, "batch_size": 16, "averaging": 0}
    config = {
        "task": "tests.training.turned:Turned",
        "data": {"name": "turned"},
        "model": {"name": "tests.training.turned:Net", "width": 8},
        "static": fit,
        "metanetwork": {"context": {"name": "tests.training.turned:Clouds", "width": 16}, "fit": fit},
    }
    folder = tmp_path_factory.mktemp("own") / "run"
    train(parse_config(config, "test"), folder, QUIET)
    return folder


def test_it_trains_and_the_metanetwork_knows_each_device(run: Path) -> None:
    metrics = evaluate([run], QUIET)["metrics"]
    # One weight for everyone cannot know which way a device is turned.
    assert metrics["static"]["accuracy"]["mean"] < 0.7
    assert metrics["metanetwork"]["accuracy"]["mean"] > 0.8


def test_its_bundle_is_swappable(run: Path, tmp_path: Path) -> None:
    bundle = export_run(run, "android", tmp_path / "bundle")
    assert [slot.parameter for slot in bundle.manifest.slots] == ["hidden.weight", "out.weight", "out.bias"]


def test_its_context_is_what_a_device_uploads(run: Path) -> None:
    loaded = load_run(run)
    generated = loaded.metanetwork.generate(loaded.task.context([[0.1, 0.2]] * 32))
    assert generated["out.weight"].shape == (1, 2, 8)
    assert all(torch.isfinite(value).all() for value in generated.values())
