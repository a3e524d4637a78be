"""What a device can do by itself, as methods of a run of images, and as what the gains are over."""

import json
from pathlib import Path

import pytest
import torch
from rich.console import Console

from mnet.toolchain.errors import UserError
from mnet.toolchain.tasks.label_free import LabelFree
from mnet.toolchain.training.config import Config, parse_config
from mnet.toolchain.training.evaluate import evaluate
from mnet.toolchain.training.methods import run_methods
from mnet.toolchain.training.recipe import train
from mnet.toolchain.training.run import load_run
from tests.tasks.images import grey_images

QUIET = Console(quiet=True)
METHODS = ("label-prior", "statistics+centring+label-prior", "metanetwork+label-prior")


def config(**more: object) -> Config:
    values = {
        "task": {"name": "classification", "context": 6, "serves": 4}
        | {"training_devices": 20, "validation_devices": 5, "test_devices": 5},
        "data": {"name": "tests.tasks.images:load_greys"},
        "model": {"name": "cnn", "width": 4, "features": 8},
        "static": {"epochs": 2},
        "on_device": METHODS[:2],
        "metanetwork": {"context": {"name": "set", "width": 8}, "start": "static", "fit": {"epochs": 1}},
        "equal_cost": "label-prior",
    }
    return parse_config(values | more, "test")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("on-device") / "run"
    train(config(), folder, QUIET)
    return folder


def test_settings_are_chosen_on_validation_and_kept(run: Path) -> None:
    metrics = json.loads((run / "metrics.json").read_text())
    assert {name: metrics[name]["trials"] for name in METHODS} == dict(
        zip(METHODS, (30, 50, 30), strict=True)
    )
    loaded = load_run(run)
    data = grey_images()
    validation = list(loaded.task.splits(data, loaded.static).validation(5))
    for name, method in run_methods(loaded, data).items():
        if name in METHODS:
            with torch.no_grad():
                correct = torch.cat(
                    [loaded.task.scores(method(batch), batch)["accuracy"] for batch in validation]
                )
            # What was chosen is what the evaluation tests: it scores on validation what it scored then.
            assert float(correct.mean()) == pytest.approx(metrics[name]["accuracy"])


def test_gains_are_over_what_the_phone_can_do_by_itself(run: Path) -> None:
    report = evaluate([run], QUIET)
    assert set(METHODS) < set(report["metrics"])
    assert report["equal_cost"] == "label-prior"
    values = {name: report["metrics"][name]["accuracy"]["mean"] for name in ("label-prior", "metanetwork")}
    gain = report["gain"]["metanetwork"]["accuracy"]
    assert gain["relative"] == pytest.approx(values["metanetwork"] / values["label-prior"] - 1)


def test_under_generated_weights_each_device_has_its_own_prior(run: Path) -> None:
    loaded = load_run(run)
    batch = next(iter(loaded.task.splits(grey_images()).test(4)))
    method = run_methods(loaded, grey_images())["metanetwork+label-prior"]
    assert isinstance(method.on_device, LabelFree)
    network = loaded.metanetwork
    with torch.no_grad():
        packs = network.generate_from(loaded.task.vectors(network, batch))
        together = method(batch).unflatten(0, batch.label.shape)
        for device in range(4):
            one = {name: value[device] for name, value in packs.items()}
            alone = loaded.task.device_model(loaded.config.model).eval()
            alone.load_state_dict({**network.device_model.state_dict(), **one})
            of_one = type(batch)(*(value[device : device + 1] for value in batch))
            (expected,) = method.on_device.outputs(alone, method.source, of_one, [method.settings])
            torch.testing.assert_close(together[device], expected, atol=1e-4, rtol=1e-4)


def test_a_task_that_knows_none_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="magic: expected some of statistics, centring, t3a, label-prior"):
        train(config(on_device=["magic"]), tmp_path / "run", QUIET)
    assert not (tmp_path / "run").exists()


def test_a_grid_grows_until_its_best_trial_lies_inside(tmp_path: Path) -> None:
    settings = {"learning_rates": [1e-7], "steps": [2]}
    chosen = train(config(fine_tuning=settings, on_device=[], equal_cost="static"), tmp_path / "run", QUIET)
    assert chosen["fine-tuning"]["trials"] > 1
