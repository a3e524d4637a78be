"""What the README says in code is what tests run elsewhere, and what docs/models.md tells to write and type works."""

import os
import re
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import mnet

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
MODELS = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
SECTION = MODELS.split("## A model of your own, in two files")[1].split("\n## ")[0]


def test_it_is_read_in_two_minutes() -> None:
    assert len(README.split()) <= 900


def test_its_python_is_the_story_that_the_package_tells() -> None:
    (block,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert mnet.__doc__
    assert block == textwrap.dedent(mnet.__doc__.split("::\n\n")[1].split("\nEvery name")[0])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files of the section, and a table of users who each go through the catalogue in order."""
    for name, text in re.findall(r"```\w+\n# (\S+)\n(.*?)```", SECTION, re.DOTALL):
        (tmp_path / name).write_text(text)
    rows = [f"{user},item {(user + step) % 50},{step}" for user in range(30) for step in range(30)]
    (tmp_path / "taken.csv").write_text("user,item,time\n" + "\n".join(rows))
    return tmp_path


def test_a_model_of_ones_own_trains_exports_and_swaps(folder: Path) -> None:
    commands = re.findall(r"^    mnet (.*)$", SECTION, re.MULTILINE)
    assert [command.split()[0] for command in commands] == ["train", "export", "verify"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    commands[0] += " --set static.steps=5 --set metanetwork.fit.steps=5"  # 3,000 would take the test a minute
    for command in commands:
        done = subprocess.run(
            [sys.executable, "-m", "mnet.toolchain.cli", *shlex.split(command)],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
