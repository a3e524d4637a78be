"""How long a fit takes: in steps, until its patience ends, and what is said where it should have been longer."""

import io
from pathlib import Path

import pytest
import torch
from rich.console import Console

from mnet.toolchain.settings import Part
from mnet.toolchain.tasks.supervised import SampleSplits, SupervisedSettings
from mnet.toolchain.training.config import FitConfig
from mnet.toolchain.training.curves import read_curve
from mnet.toolchain.training.fit import fit
from mnet.toolchain.training.recipe import Stages
from mnet.toolchain.training.scorers import StaticScorer
from tests.training.sensors import Linear, NextReading

DATA = NextReading.load("made-up", None)
TASK = NextReading.create(
    SupervisedSettings(context=8, serves=4), NextReading.facts(DATA), Part(name="x"), None
)
SPLITS = SampleSplits(DATA, TASK.settings)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def test_a_fit_of_too_few_steps_says_so(tmp_path: Path) -> None:
    said, model = io.StringIO(), Linear()
    stages = Stages(0, tmp_path, Console(file=said, width=200))
    batches = len(SPLITS.training(200, 0))
    config = FitConfig(steps=2 * batches + 1, batch_size=200, averaging=0)
    stages.run("static", model, StaticScorer(TASK, model), SPLITS, config)
    assert "static: the last of 3 epochs was the best; more steps may make it better" in said.getvalue()
    assert len(read_curve(tmp_path / "fits" / "static")) == 3


def test_a_fit_ends_when_nothing_becomes_better(tmp_path: Path) -> None:
    model = Linear()
    config = FitConfig(epochs=40, patience=2, learning_rate=1.0, batch_size=200, averaging=0)
    fitted = fit(StaticScorer(TASK, model), SPLITS, config, 0, tmp_path)
    errors = read_curve(tmp_path)["squared error"]
    assert fitted.most == 40
    assert len(errors) < 40
    assert fitted.best == 1 + errors.idxmin() == len(errors) - 2
    assert fitted.value == pytest.approx(errors.min())
