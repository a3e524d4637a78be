"""A cloud that looks at photos through its own classifier: from the config to what a phone would get."""

from pathlib import Path

import pytest
import torch
from rich.console import Console

from mnet.toolchain.errors import UserError
from mnet.toolchain.metanetwork.context_images import ImageContext
from mnet.toolchain.metanetwork.label_prior import label_prior
from mnet.toolchain.tasks.classification import as_input
from mnet.toolchain.training.build import build_module, build_task
from mnet.toolchain.training.evaluate import evaluate
from mnet.toolchain.training.methods import run_methods
from mnet.toolchain.training.recipe import train
from mnet.toolchain.training.run import load_run
from tests.tasks.images import grey_images
from tests.training.test_on_device import config

QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("eyes") / "run"
    task = {"name": "classification", "context": 6, "serves": 4, "upload": "image", "any_sensor": True}
    eyes = {"name": "images", "width": 8, "channels": 4}
    seen = config(
        task=task | {"training_devices": 20, "validation_devices": 5, "test_devices": 5},
        model={"name": "micro", "width": 4},
        cloud={"model": {"name": "micro", "width": 6}, "fit": {"epochs": 1}},
        metanetwork={"context": eyes, "start": "static", "fit": {"epochs": 1}},
        on_device=["label-prior", "cloud-prior", "centring+cloud-prior"],
    )
    train(seen, folder, QUIET)
    return folder


def test_the_cloud_looks_through_its_trained_model_and_leaves_it_as_it_is(run: Path) -> None:
    loaded = load_run(run)
    encoder = loaded.metanetwork.context_encoder
    assert isinstance(encoder, ImageContext)
    for name, value in encoder.classifier.state_dict().items():
        assert torch.equal(value, loaded.modules["cloud"].state_dict()[name])


def test_the_prior_of_the_cloud_alone_is_ten_numbers_on_the_static_model(run: Path) -> None:
    loaded = load_run(run)
    batch = next(iter(loaded.task.splits(grey_images()).test(4)))
    method = run_methods(loaded, grey_images())["cloud-prior"]
    heat, of_cloud, smoothing = (
        method.settings[name] for name in ("temperature", "cloud_temperature", "smoothing")
    )
    with torch.no_grad():
        added = method(batch) - loaded.task.outputs(loaded.static, batch) / heat
        seen = loaded.modules["cloud"](as_input(batch.context.flatten(0, 1))).unflatten(
            0, batch.context.shape[:2]
        )
    of_device = added.unflatten(0, batch.label.shape)
    torch.testing.assert_close(of_device, of_device[:, :1].expand_as(of_device), atol=1e-5, rtol=0)
    share = method.source.share
    expected = (label_prior((seen / of_cloud).softmax(dim=2), share, smoothing) / share).log()
    torch.testing.assert_close(of_device[:, 0], expected, atol=1e-4, rtol=0)
    assert (expected[0] != expected[1]).all()
    assert {"cloud-prior", "centring+cloud-prior"} <= evaluate([run], QUIET)["metrics"].keys()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"cloud": None}, "cloud-prior looks through the cloud model; add a cloud section"),
        ({"equal_cost": "cloud-prior"}, "equal_cost: cloud-prior takes a cloud"),
        ({"task": {"name": "classification"}}, "set task.upload=image"),
        ({"on_device": ["label-prior+cloud-prior"]}, "the phone's or the cloud's, not both"),
    ],
)
def test_a_row_that_takes_a_cloud_says_what_it_needs(changed: dict[str, object], said: str) -> None:
    cloud = {"model": {"name": "cnn", "width": 4}, "fit": {"epochs": 1}}
    task = {"name": "classification", "upload": "image"}
    settings = config(**{"task": task, "cloud": cloud, "on_device": ["cloud-prior"]} | changed)
    with pytest.raises(UserError, match=said):
        build_task(settings, {"classes": ["a", "b"], "image_size": (16, 16)})


def test_ten_numbers_are_what_is_generated_and_the_rest_stays_static(tmp_path: Path) -> None:
    settings = config(
        task={"name": "classification", "context": 6, "serves": 4, "upload": "image"}
        | {"training_devices": 20, "validation_devices": 5, "test_devices": 5},
        cloud={"model": {"name": "residual", "width": 2}, "fit": {"epochs": 1}},
        metanetwork={"context": "class-prior", "generated": ["classifier.bias"], "freeze": ["*"]}
        | {"start": "static", "bound": None, "fit": {"epochs": 1, "learning_rate": 1e-5}},
        on_device=["cloud-prior"],
        equal_cost="static",
    )
    train(settings, tmp_path / "run", QUIET)
    run = load_run(tmp_path / "run")
    assert run.generated == ("classifier.bias",)
    model = run.metanetwork.device_model
    assert all(
        torch.equal(value, model.state_dict()[name]) for name, value in run.static.state_dict().items()
    )
    batch = next(iter(run.task.splits(grey_images()).test(4)))
    with torch.no_grad():
        biases = run.metanetwork.generate(batch.context)["classifier.bias"]
        seen = (
            run.modules["cloud"]
            .eval()(as_input(batch.context.flatten(0, 1)))
            .unflatten(0, batch.context.shape[:2])
        )
    share = torch.full_like(seen[0, 0], 1 / seen.shape[2])
    present = (batch.context != 0).flatten(2).any(dim=2).float()
    expected = (label_prior(seen.softmax(dim=2), share, 3.0, present) / share).log()
    # The fit is too slow to have moved it far.
    torch.testing.assert_close(biases - run.static.classifier.bias, expected, atol=1e-2, rtol=0)


def test_a_class_prior_needs_a_cloud_model_to_look_through() -> None:
    metanetwork = {"context": "class-prior", "generated": ["classifier.bias"], "fit": {"epochs": 1}}
    task = {"name": "classification", "upload": "image"}
    settings = config(task=task, metanetwork=metanetwork, on_device=[], equal_cost="static")
    built = build_task(settings, {"classes": ["a", "b"], "image_size": (16, 16)})
    with pytest.raises(UserError, match="class-prior looks through the cloud model; add a cloud section"):
        build_module("metanetwork", built, settings)
