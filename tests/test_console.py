"""What people read: text as it is, boxes and bars on a terminal only, one line a stage in a log."""

import io
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.table import Table
from rich.text import Text

from mnet.toolchain.console import Bars, Printer, Stages, text_table, track

ROOT = Path(__file__).parent.parent
HOSTILE = ["[/b]x", "[dog]", "x [bold]y", "[link=http://a]b", ":smile:", "\\[x]"]


def log() -> Printer:
    console = Printer()
    console.file = io.StringIO()
    return console


def printed(console: Printer) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("text", HOSTILE)
def test_user_text_is_printed_as_it_is(text: str) -> None:
    console = log()
    console.print(f"one {text}")
    console.print(Text("two ", "bold red") + Text(text))
    console.print(text_table(("three",), [[text]], title=f"four {text}"))
    console.rule(f"five {text}")
    with Bars(console) as bars:
        bars.add_task(f"six {text}", total=1)
    with Stages(console) as stages:
        stages.stage(f"seven {text}")
        stages.finish()
    assert printed(console).count(text) == 7


def test_only_one_place_makes_consoles() -> None:
    """A console of Rich's own would read user text as markup."""
    folders = [ROOT / name for name in ("mnet", "toolchain", "export", "device_models")]
    foreign = [
        file.relative_to(ROOT).as_posix()
        for folder in folders
        for file in folder.rglob("*.py")
        if re.search(r"\bConsole\(|from rich\.progress import .*\b(track|Progress)\b", file.read_text())
    ]
    assert not foreign


def test_a_log_has_no_boxes_no_colours_and_no_folded_lines() -> None:
    console = log()
    console.print(text_table(("method", "value"), [["static", "0.1"], ["long " * 40, "0.2"]]))
    console.print("word " * 60)
    text = printed(console)
    assert not re.search(r"[\u2500-\u257f\x1b]", text)
    assert [line.split()[0] for line in text.splitlines()] == ["method", "static", "long", "word"]


def test_a_log_shows_each_stage_and_its_end() -> None:
    console = log()
    assert list(track(range(3), "counting", console=console)) == [0, 1, 2]
    with Stages(console) as stages:
        stages.stage("first")
        stages.stage("second")
        stages.finish()
    assert printed(console).splitlines() == ["counting", "counting: 3 of 3", "first", "second"]


SCRIPT = """
import time
from mnet.toolchain.console import Bars, Printer, text_table
console = Printer()
console.print(text_table(["a long heading of a column"] * 7, [["0.1234567890 [0.1, 0.2]"] * 7], title="results"))
with Bars(console) as bars:
    task = bars.add_task("a description of a stage that is rather long, as of a model for a target", total=2000)
    bars.update(task, completed=2000)
"""


def on_a_terminal(environment: dict[str, str]) -> str:
    """What the script prints on a terminal of 80 columns."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", SCRIPT]
    settings = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", **environment}
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, stdin=theirs, env=settings):
        os.close(theirs)
        parts = []
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            parts.append(part)
    os.close(ours)
    return b"".join(parts).decode()


def test_at_80_columns_nothing_is_cut_and_no_line_is_longer() -> None:
    text = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", on_a_terminal({}))
    lines = text.replace("\r", "\n").splitlines()
    assert max(map(len, lines)) <= 80
    assert "┃" in text
    assert "…" not in text
    shown = "".join(re.sub(r"[^\w]", "", line) for line in lines)
    assert "target" in shown
    assert "2000/2000" in re.sub(r"\s", "", text)


def test_no_color_is_honoured() -> None:
    assert re.search(r"\x1b\[\d*;?3\dm|\x1b\[38", on_a_terminal({}))
    assert not re.search(r"\x1b\[\d*;?3\dm|\x1b\[38", on_a_terminal({"NO_COLOR": "1"}))


def test_a_table_of_rich_is_fitted_too() -> None:
    console = log()
    table = Table("a")
    table.add_row("b")
    console.print(table)
    assert printed(console).split() == ["a", "b"]
