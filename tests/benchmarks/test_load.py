"""The load script still runs, and every phone of a small fleet gets every version that it is due."""

import json
import subprocess
import sys
from pathlib import Path


def test_a_small_fleet_meets_no_error(tiny_run: Path, tiny_bundle: Path) -> None:
    sizes = ["--devices", "3", "--rate", "10", "--seconds", "1", "--idle", "0.1", "--json"]
    command = [sys.executable, "-m", "tests.benchmarks.load", str(tiny_run), str(tiny_bundle), *sizes]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["errors"] == {}
    assert [phase["count"] for phase in found["phases"]] == [3, 0, 3, 3, 10, 10]
