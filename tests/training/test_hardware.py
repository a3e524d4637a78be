"""Devices, strategies and precisions: what comes out is the same run."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from mnet.toolchain.errors import UserError
from mnet.toolchain.training.config import Config, load_config
from mnet.toolchain.training.hardware import Hardware
from mnet.toolchain.training.recipe import train
from mnet.toolchain.training.run import load_run

# A static model alone, in smaller steps than the other tests take, so that curves can be compared.
STATIC_ALONE = [
    *(f"{section}=null" for section in ("cloud", "distillation", "fine_tuning", "direct", "metanetwork")),
    "static.epochs=3",
    "static.batch_size=8",
    "static.learning_rate=0.01",
]


def losses(run: Path) -> np.ndarray:
    return pd.read_csv(run / "curves.csv")["loss"].to_numpy()


def static_alone(config_file: Path, *overrides: str) -> Config:
    return load_config(str(config_file), [*STATIC_ALONE, *overrides])


def test_two_processes_learn_as_one_does(
    config_file: Path, train_command: Callable[[str], list[str]], tmp_path: Path
) -> None:
    for seed in (0, 1):
        train(static_alone(config_file, f"seed={seed}"), tmp_path / str(seed), Console(quiet=True))
    one, other_seed = (losses(tmp_path / str(seed)) for seed in (0, 1))
    options = [part for override in STATIC_ALONE for part in ("--set", override)]
    subprocess.run(
        [
            *train_command("two"),
            *options,
            "--accelerator",
            "cpu",
            "--devices",
            "2",
            "--strategy",
            "ddp",
            "--json",
        ],
        check=True,
        capture_output=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    two = losses(config_file.parent / "two")
    assert two.shape == one.shape
    assert one[-1] < 0.9 * one[0]
    # The batches hold other users, as they do under another seed: that is the noise.
    assert abs(two / one - 1).max() < abs(other_seed / one - 1).max()
    assert load_run(config_file.parent / "two").config == static_alone(config_file)


def test_mixed_precision_trains_every_method(config_file: Path, tmp_path: Path) -> None:
    config = load_config(str(config_file), [*STATIC_ALONE[:4], "static.epochs=1"])
    metrics = train(config, tmp_path / "run", Console(quiet=True), Hardware(precision="bf16-mixed"))
    assert metrics.keys() == {"static", "metanetwork"}
    assert np.isfinite(losses(tmp_path / "run")).all()


@pytest.mark.parametrize(
    "hardware",
    [
        Hardware(strategy="dp3"),
        Hardware(accelerator="abacus"),
        Hardware(precision="7"),
        Hardware(devices="many"),
    ],
)
def test_hardware_that_is_not_there_is_one_line(
    hardware: Hardware, config_file: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"cannot train on accelerator .*, devices .*, precision ") as error:
        train(static_alone(config_file), tmp_path / "run", Console(quiet=True), hardware)
    assert "\n" not in str(error.value)
