"""A small run with something to learn, made once by the command in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.once import made_once

CONFIG = """\
data: {{name: movielens-100k, path: {data}}}
task: {{name: recommendation, rolling: {{train: 0.6, validation: 0.2}}, candidates: 20}}
model: {{name: sasrec, width: 8, blocks: 1, history: 5}}
static: {{epochs: 5, learning_rate: 0.02, batch_size: 16}}
cloud:
  model: {{name: sasrec, width: 16, blocks: 1, history: 10}}
  fit: {{epochs: 2, learning_rate: 0.02, batch_size: 16}}
distillation:
  fit: {{epochs: 2, learning_rate: 0.02, batch_size: 16}}
fine_tuning: {{learning_rates: [0.01], steps: [1, 2]}}
direct:
  fit: {{epochs: 2, learning_rate: 0.01, batch_size: 16}}
metanetwork:
  context: {{name: moving-averages, width: 8, averages: 2, blocks: 1, length: 10}}
  fit: {{epochs: 3, learning_rate: 0.01, batch_size: 16}}
"""


@pytest.fixture(scope="session")
def config_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A config, and its data: 60 users who go round the catalogue, each in steps of one length."""

    def make(folder: Path) -> None:
        rows = [
            f"{user}\t{1 + (7 * user + step * (1 + user % 2)) % 80}\t5\t{step}"
            for user in range(60)
            for step in range(35)
        ]
        (folder / "u.data").write_text("\n".join(rows))
        (folder / "config.yaml").write_text(CONFIG.format(data=folder / "u.data"))

    return made_once(tmp_path_factory, "recipe", make) / "config.yaml"


@pytest.fixture(scope="session")
def train_command(config_file: Path) -> Callable[[str], list[str]]:
    """`mnet train` into a folder of this name beside the config."""

    def command(out: str) -> list[str]:
        folder = config_file.parent / out
        return [sys.executable, "-m", "mnet.toolchain.cli", "train", str(config_file), "--out", str(folder)]

    return command


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory, train_command: Callable[[str], list[str]]) -> Path:
    """A finished run that nothing interrupted."""

    def make(folder: Path) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        subprocess.run(train_command(f"{folder}/run"), check=True, capture_output=True, env=environment)

    return made_once(tmp_path_factory, "small", make) / "run"
