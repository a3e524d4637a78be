"""The tutorial works word by word: its files are written, its commands run, and they print what it says they do.

A `sh` block runs to its end; `sh NAME` starts terminal NAME and leaves it running. `text` is what the last command
printed, `text NAME` what terminal NAME has printed by then. `…` and numbers with a decimal point may be anything.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.docs.markdown import ROOT, blocks, files

PORT = "8765"
PATIENCE_S = 150.0
STOP = "Stop the phone with Ctrl-C"


@pytest.mark.timeout(600)
def test_every_word(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8").replace(PORT, free_port())
    for name, text in files(page).items():
        (tmp_path / name).write_text(text)
    printed, terminals = "", {}
    with ExitStack() as stack, ExitStack() as phone:
        for block in blocks(page):
            if block.language == "sh" and block.word:
                running = phone if block.word == "phone" else stack
                terminals[block.word] = running.enter_context(terminal(block.text, tmp_path, block.word))
            elif block.language == "sh":
                if STOP in page[: page.index(block.text)]:
                    phone.close()
                printed = run(block.text, tmp_path)
            elif block.language == "text" and block.word:
                wait_for(block.text, terminals[block.word])
            elif block.language == "text":
                assert not missing(block.text, printed), printed
    assert set(terminals) == {"server", "phone"}


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def environment() -> dict[str, str]:
    """`mnet` and `python` are those that run this test."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", "COLUMNS": "120"}


def run(script: str, folder: Path) -> str:
    """What the commands print; each must succeed."""
    done = subprocess.run(
        ["bash", "-e"], input=script, cwd=folder, env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@contextmanager
def terminal(script: str, folder: Path, name: str) -> Iterator[Path]:
    """A terminal in which a command runs until the test ends, by Ctrl-C; yields the file that it prints to."""
    log = folder / f"{name}.log"
    # A shell starts what runs in the background deaf to Ctrl-C, and so would be what this starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with log.open("w") as out:
        process = subprocess.Popen(
            ["bash", "-c", f"exec {script}"],
            cwd=folder,
            env=environment(),
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        yield log
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def wait_for(expected: str, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while lines := missing(expected, log.read_text()):
        assert time.monotonic() < deadline, f"never printed {lines[0]}:\n{log.read_text()}"
        time.sleep(0.2)


@pytest.mark.parametrize(
    "printed", ["gain -1.5%  p 0.1", "gain +1.5%", "gain +2% p 0.1", "swapped version=1"]
)
def test_other_words_are_not_taken_for_these(printed: str) -> None:
    expected = "gain   +72.4% p 0.0002"
    assert missing(expected, printed)
    assert not missing(expected, f"{printed}\ngain +1.5% p    0.1")
    assert missing("swapped version=2 sha256=…", printed)


def missing(expected: str, printed: str) -> list[str]:
    """The expected lines that were not printed."""
    return [line for line in expected.splitlines() if not re.search(pattern(line), printed)]


def pattern(line: str) -> str:
    """Matches `line` with other measured numbers, other widths of a table, and anything for `…`."""
    anything = {"…": r"[^\n]*", " ": r"[^\S\n]+", ".": r"\d+\.\d+"}
    parts = re.split(r"(…|\d+\.\d+|\s+)", line.strip())
    kinds = [part if part == "…" else " " if part.isspace() else "." for part in parts]
    return "".join(
        anything[kind] if index % 2 else re.escape(part)
        for index, (part, kind) in enumerate(zip(parts, kinds, strict=True))
    )
