"""The room: an oracle on labelled images of the device's own, in its own mix and by its own camera."""

import json
from pathlib import Path

import pytest
import torch
from rich.console import Console

from mnet.toolchain.errors import UserError
from mnet.toolchain.training.recipe import train
from mnet.toolchain.training.room import room_rows
from mnet.toolchain.training.run import load_run
from tests.mnet_command import Mnet
from tests.tasks.images import grey_images
from tests.training.test_on_device import config

QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("room") / "run"
    train(config(on_device=[], equal_cost="static"), folder, QUIET)
    return folder


def test_labelled_images_are_of_the_devices_own_kind(run: Path) -> None:
    loaded = load_run(run)
    splits = loaded.task.splits(grey_images(), loaded.static)
    own = loaded.task.own(splits, 1, 60, 40)
    batches = list(own.training(0))
    assert sum(batch.label.numel() for batch in batches) == 60
    prior = splits.devices[2].prior[1]
    seen = (
        torch.nn.functional.one_hot(torch.cat([batch.label[0] for batch in batches]), 4).float().mean(dim=0)
    )
    assert (seen - prior).abs().max() < 0.2
    torch.testing.assert_close(own.bias.softmax(dim=0), prior, atol=1e-3, rtol=0)
    assert own.judged.label.shape == (1, 40)
    with pytest.raises(UserError, match="images of one class; ask for fewer"):
        loaded.task.own(splits, 1, 5000, 40)


def test_an_oracle_that_may_change_everything_learns_the_devices_images(
    mnet: Mnet, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mnet.toolchain.training.room.JUDGED", 20)
    code, out, _ = mnet("room", run, "--devices", 2, "--samples", 64, "--json")
    report = json.loads(out)
    assert code == 0
    parts = ["last layer", "first layer", "what the run generates", "all"]
    assert list(report["values"]) == ["static", "static, true prior", *parts]
    assert list(report["gain"]) == parts
    for name, gain in report["gain"].items():
        expected = 100 * (report["values"][name] - report["values"]["static, true prior"])
        assert gain["points"] == pytest.approx(expected)
    kept = json.loads((run / "room.json").read_text())
    assert kept.pop("made")["version"]
    assert kept == report
    assert len(room_rows(report)) == 6
