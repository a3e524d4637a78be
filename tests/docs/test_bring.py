"""docs/bring.md works word by word: its files are written, and its commands run."""

import runpy
import shlex
import sys
from pathlib import Path

import pytest

from tests.docs.markdown import ROOT, blocks, command_lines, files, unbroken
from tests.mnet_command import Mnet


def test_every_command(mnet: Mnet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    pytest.importorskip("peft", reason="PEFT is not installed")
    page = (ROOT / "docs" / "bring.md").read_text(encoding="utf-8")
    for name, text in files(page).items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    ran = 0
    for block in blocks(page):
        if block.language != "sh":
            continue
        for line in unbroken(block.text).splitlines():
            program, *arguments = shlex.split(line)
            if program == "python":
                runpy.run_path(arguments[0], run_name="__main__")
            else:
                assert program == "mnet"
                assert mnet(*arguments)[0] == 0, line
            ran += 1
    assert ran == 10
    assert {"v2.pack", "de.pack", "back"} <= {path.name for path in tmp_path.iterdir()}
    assert len(command_lines(page)) > ran
    sys.modules.pop("nets")
