"""A cloud that looks at photos through its own classifier: from the config to what a phone would get."""

from pathlib import Path

import pytest
import torch
from rich.console import Console

from mnet.toolchain.metanetwork.context_images import ImageContext
from mnet.toolchain.training.evaluate import evaluate
from mnet.toolchain.training.methods import CLOUD_PRIOR, run_methods
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
        on_device=["label-prior"],
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
    with torch.no_grad():
        added = run_methods(loaded, grey_images())[CLOUD_PRIOR](batch) - loaded.task.outputs(
            loaded.static, batch
        )
    of_device = added.unflatten(0, batch.label.shape)
    torch.testing.assert_close(of_device, of_device[:, :1].expand_as(of_device), atol=1e-5, rtol=0)
    expected = loaded.metanetwork.context_encoder.log_prior(batch.context)
    torch.testing.assert_close(of_device[:, 0], expected, atol=1e-5, rtol=0)
    assert (expected[0] != expected[1]).all()
    assert CLOUD_PRIOR in evaluate([run], QUIET)["metrics"]
