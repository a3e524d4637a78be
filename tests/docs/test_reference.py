"""The reference says what the code says."""

import subprocess
import sys

import mnet
from tests.docs import config_keys, diagram
from tests.docs.markdown import ROOT

FOLDER = ROOT / "docs" / "reference"


def test_every_config_key_has_a_meaning() -> None:
    rows = [line for line in config_keys.config_page().splitlines() if line.startswith("| `")]
    assert len(rows) > 100
    assert not [row for row in rows if row.endswith("|  |")]


def test_the_config_keys_are_up_to_date() -> None:
    written = config_keys.FILE.read_text(encoding="utf-8")
    assert written == config_keys.config_page(), "run `make reference`"


def test_the_commands_are_up_to_date() -> None:
    writer = ["typer", "mnet.toolchain.cli.app", "utils", "docs", "--name", "mnet", "--title", "Commands"]
    done = subprocess.run(
        [sys.executable, "-m", *writer], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert (FOLDER / "cli.md").read_text(encoding="utf-8").strip() == done.stdout.strip(), (
        "run `make reference`"
    )


def test_every_name_of_the_package_is_in_the_python_page() -> None:
    page = (FOLDER / "python.md").read_text(encoding="utf-8").splitlines()
    assert {f"::: mnet.{name}" for name in mnet.__all__} <= set(page)


def test_the_diagram_is_up_to_date() -> None:
    assert diagram.FILE.read_text(encoding="utf-8") == diagram.draw(), "run `python -m tests.docs.diagram`"
