"""`mnet init` and `mnet configs`: what they write trains, exports and verifies."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from mnet.toolchain.cli.app import app
from mnet.toolchain.errors import UserError
from mnet.toolchain.training.config import builtin_configs, load_config


def test_the_folder_trains_exports_and_swaps(tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    result = CliRunner().invoke(app, ["init", str(folder), "--json"])
    assert set(json.loads(result.stdout)["files"]) == {file.name for file in folder.iterdir()}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    result = CliRunner().invoke(app, ["init", str(tmp_path)])
    assert isinstance(result.exception, UserError)
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


def test_configs_are_listed() -> None:
    assert CliRunner().invoke(app, ["configs"]).stdout.split() == builtin_configs()
    assert json.loads(CliRunner().invoke(app, ["configs", "--json"]).stdout) == builtin_configs()


@pytest.mark.parametrize("name", builtin_configs())
def test_a_copy_is_the_same_config(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(app, ["configs", "copy", name]).exit_code == 0
    (file,) = tmp_path.iterdir()
    assert load_config(file.name) == load_config(name)
    assert yaml.safe_load(file.read_text())
    again = CliRunner().invoke(app, ["configs", "copy", name])
    assert isinstance(again.exception, UserError)


def test_an_unknown_config_is_named() -> None:
    result = CliRunner().invoke(app, ["configs", "copy", "synthetic-drift/sasrek"])
    assert "did you mean synthetic-drift/sasrec?" in str(result.exception)
