"""Where the curves of a fit go: Lightning's loggers by name, and the run's own table and picture in any case."""

import importlib.util
from pathlib import Path

import pytest
import torch

from mnet.toolchain.errors import UserError
from mnet.toolchain.settings import Part
from mnet.toolchain.tasks.supervised import SampleSplits, SupervisedSettings
from mnet.toolchain.training import curves
from mnet.toolchain.training.config import FitConfig
from mnet.toolchain.training.curves import LiveCurves
from mnet.toolchain.training.fit import fit
from mnet.toolchain.training.loggers import LOGGERS, check_logger, close_loggers, more_loggers
from mnet.toolchain.training.scorers import StaticScorer
from tests.mnet_command import Mnet
from tests.training.sensors import Linear, NextReading

DATA = NextReading.load("made-up", None)
SETTINGS = SupervisedSettings(context=8, serves=4)


@pytest.mark.parametrize("logger", LOGGERS)
def test_every_fit_is_logged_and_drawn_as_it_proceeds(
    logger: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if logger != "csv":
        pytest.importorskip(logger, reason=f"{logger} is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(curves, "REDRAW_S", -1.0)
    torch.manual_seed(0)
    for name in ("static", "metanetwork"):
        task, model = NextReading.create(SETTINGS, NextReading.facts(DATA), Part(name="x"), None), Linear()
        config = FitConfig(epochs=2, batch_size=200, averaging=0)
        loggers = more_loggers(logger, tmp_path, name)
        live = LiveCurves(tmp_path, task.metrics[0])
        splits = SampleSplits(DATA, SETTINGS)
        fit(
            StaticScorer(task, model),
            splits,
            config,
            0,
            tmp_path / "fits" / name,
            loggers=loggers,
            watchers=[live],
        )
        close_loggers(loggers)
    assert (tmp_path / "curves.png").stat().st_size > 1000
    left = {
        "csv": ("*/events*", 0),
        "tensorboard": ("tensorboard/*/events*", 2),
        "mlflow": ("mlflow.db", 1),
        "wandb": ("wandb/offline-run-*", 2),
    }
    pattern, files = left[logger]
    assert len([*tmp_path.glob(pattern)]) == files


def test_what_is_not_there_is_one_line(mnet: Mnet, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--logger neptune is unknown; it is one of csv, tensorboard"):
        check_logger("neptune")
    code, _, err = mnet(
        "train", "synthetic-drift/sasrec", "--out", str(tmp_path / "run"), "--logger", "neptune"
    )
    assert code == 2
    assert "--logger neptune is unknown" in err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("logger", LOGGERS[1:])
def test_a_package_that_is_missing_is_named_with_its_pip_line(logger: str) -> None:
    if importlib.util.find_spec(logger):
        pytest.skip(f"{logger} is installed")
    with pytest.raises(
        UserError, match=f"--logger {logger} needs the package {logger}: pip install {logger}"
    ):
        check_logger(logger)
