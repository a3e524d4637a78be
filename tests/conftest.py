"""One small trained run, its bundle and a server of both, made once for all tests that need them."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from mnet.toolchain.fleet.processes import ServerProcess
from tests.mnet_command import Mnet
from tests.once import made_once
from tests.skipped import pytest_sessionfinish, pytest_terminal_summary
from tests.slow import pytest_collection_modifyitems, pytest_configure

__all__ = [
    "pytest_collection_modifyitems",
    "pytest_configure",
    "pytest_sessionfinish",
    "pytest_terminal_summary",
]

ITEMS = 300


def write_interactions(path: Path, users: int = 40, each: int = 40, seed: int = 0) -> None:
    """Write a `u.data` of made-up users, each fond of one band of the catalogue."""
    generator = np.random.default_rng(seed)
    fondness = generator.integers(1, ITEMS - 30, size=users)
    rows = [
        f"{user + 1}\t{item}\t5\t{3600 * step}"
        for user in range(users)
        for step, item in enumerate(fondness[user] + generator.integers(0, 30, size=each))
    ]
    # Every item once, so that the catalogue is 1..ITEMS.
    rows += [f"{users + 1}\t{item}\t5\t{60 * item}" for item in range(1, ITEMS + 1)]
    path.write_text("\n".join(rows))


def one_epoch(config: Any) -> Any:
    """The same config with every fit cut to one epoch."""
    if not isinstance(config, dict):
        return config
    return {
        key: 1 if key in ("epochs", "steps") and isinstance(value, int) else one_epoch(value)
        for key, value in config.items()
    }


def pytest_addoption(parser: pytest.Parser) -> None:
    """How long the soak tests and the fuzzing are, and where pictures go."""
    parser.addoption("--swaps", type=int, default=200, help="hot swaps under live inference")
    parser.addoption("--mutations", type=int, default=400, help="mutated requests, packs and releases")
    parser.addoption("--conversations", type=int, default=200, help="calls of a phone to a hostile server")
    parser.addoption("--screenshots", metavar="DIR", help="leave the pictures of the browser tests there")
    parser.addoption("--phones", type=int, default=60, help="light phones of a cohort")
    parser.addoption("--kills", type=int, default=10, help="kill -9 of a phone at a random moment")
    parser.addoption("--every-target", action="store_true", help="serve the foreign models to phones on each")


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Two cores are shared by the tests and the processes that they start."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _no_terminal() -> None:
    """The workers of pytest-xdist have the width of a terminal in the environment; what is tested here has none."""
    os.environ.pop("COLUMNS", None)


@pytest.fixture
def mnet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Mnet:
    """The command, in this process: `code, out, err = mnet("verify", bundle)`."""
    return Mnet(monkeypatch, capsys)


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder: every stage of training really ran, for one short epoch."""
    from mnet.toolchain.training.config import load_config, parse_config
    from mnet.toolchain.training.recipe import train

    def make(folder: Path) -> None:
        write_interactions(folder / "u.data")
        config = load_config("movielens-100k/sasrec", [f"data.path={folder / 'u.data'}"])
        short = parse_config(one_epoch(config.model_dump()), "the tiny config")
        train(short, folder / "run", Console(quiet=True))

    return made_once(tmp_path_factory, "tiny", make) / "run"


@pytest.fixture(scope="session")
def tiny_bundle(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Android bundle of `tiny_run`."""
    return android_bundle(tiny_run, tmp_path_factory, "tiny-android")


def android_bundle(run: Path, tmp_path_factory: pytest.TempPathFactory, name: str) -> Path:
    """The Android bundle of a run folder, exported once for all workers under this name."""
    from mnet.toolchain.training.export_run import export_run

    def make(folder: Path) -> None:
        export_run(run, "android", folder / "bundle")

    return made_once(tmp_path_factory, name, make) / "bundle"


WORLD_CONFIG = """\
data: {{name: movielens-100k, path: {data}}}
task: {{name: recommendation, rolling: {{train: 0.6, validation: 0.2}}, freshness: session, candidates: 20}}
model: {{name: moving-averages, width: 8, history: 10, averages: 2, blocks: 1}}
static: {{epochs: 2, learning_rate: 0.02}}
metanetwork:
  context: {{name: moving-averages, width: 8, averages: 2, blocks: 1, length: 20}}
  fit: {{epochs: 1, learning_rate: 0.01}}
world:
  fit: {{epochs: 2, learning_rate: 0.05}}
"""


@pytest.fixture(scope="session")
def world_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a MetaNetwork and world packs, on the made-up users of `tiny_run`."""
    from mnet.toolchain.training.config import load_config
    from mnet.toolchain.training.recipe import train

    def make(folder: Path) -> None:
        write_interactions(folder / "u.data")
        (folder / "config.yaml").write_text(WORLD_CONFIG.format(data=folder / "u.data"))
        train(load_config(str(folder / "config.yaml")), folder / "run", Console(quiet=True))

    return made_once(tmp_path_factory, "world", make) / "run"


@pytest.fixture(scope="session")
def world_bundle(world_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Android bundle of `world_run`."""
    return android_bundle(world_run, tmp_path_factory, "world-android")


@pytest.fixture(scope="session")
def server(
    tiny_run: Path, tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    """A running `mnet serve`, shared: each test enrols devices of its own and leaves the process alone."""
    unlimited = ["--uploads", "1000000"]
    with ServerProcess(
        tiny_run, tiny_bundle, tmp_path_factory.mktemp("server"), options=unlimited
    ) as process:
        yield process
