"""The script of kills still runs: of one round and a lost machine, nothing is lost, backwards, partial or hung."""

import json
import subprocess
import sys
from pathlib import Path


def test_a_killed_server_and_a_lost_machine_cost_nothing(tiny_run: Path, tiny_bundle: Path) -> None:
    rounds = ["--rounds", "1", "--lose-every", "1"]
    command = [sys.executable, "-m", "tests.benchmarks.kills", str(tiny_run), str(tiny_bundle), *rounds]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["rounds"], found["SIGKILL"], found["restores"]) == (2, 1, 1)
    assert found["lost"] == found["backwards"] == found["partial"] == found["hung"] == 0
