"""How the host builds run programs."""

import os
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType

import pytest

from android_demo.hosttest.tools import run

# Starts another one that would outlive it, and says which.
STARTS_ANOTHER = """
import pathlib, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"])
pathlib.Path(sys.argv[1]).write_text(str(child.pid))
child.wait()
"""


def test_whoever_is_interrupted_leaves_no_process_behind(tmp_path: Path) -> None:
    said = tmp_path / "pid"

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise TimeoutError

    def watch() -> None:
        deadline = time.monotonic() + 60
        while not (said.is_file() and said.read_text()) and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, interrupt)
    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    try:
        with pytest.raises(TimeoutError):
            run([sys.executable, "-c", STARTS_ANOTHER, said])
    finally:
        watching.join()
        signal.signal(signal.SIGUSR1, before)
    assert _ends(int(said.read_text()))


def _ends(pid: int) -> bool:
    """Whether the process ends within seconds; one that nobody has waited for yet has ended."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.01)
    return False
