"""Nothing that moves is given up on: a process that works counts as alive as long as it takes the CPU."""

import os
from pathlib import Path

import pytest

from mnet.toolchain.fleet.processes import JsonProcess, ProcessEnded

SCRIPT = """
import sys, time
print('{"event": "started"}', flush=True)
if sys.argv[1] == "works":
    while time.process_time() < 2.5:
        sum(range(10000))
else:
    time.sleep(60)
print('{"event": "done"}', flush=True)
"""


class Working(JsonProcess):
    works = True


@pytest.mark.parametrize("does", ["works", "waits"])
def test_work_without_a_word_is_life_and_idling_is_not(
    does: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "quiet_worker.py").write_text(SCRIPT)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setattr(
        "mnet.toolchain.fleet.processes.LEAST_CPU_S", 0.0
    )  # a busy machine may give little a second
    with Working([does], tmp_path / "log", module="quiet_worker") as process:
        process.next_event("started")
        if does == "works":
            assert process.next_event("done", silence_s=1.0)["event"] == "done"
        else:
            with pytest.raises(ProcessEnded, match="printed nothing for 1 s, and 'done' was awaited"):
                process.next_event("done", silence_s=1.0)
