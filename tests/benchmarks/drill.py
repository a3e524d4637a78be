"""`python -m tests.benchmarks.drill RUN BUNDLE --phones 1000`: lose the machine, and how long until all is well again.

Light phones enrol and upload; a backup is made; half of them upload again, and a tenth as many enrol, which the backup
knows nothing of. Then the server is killed and its state deleted, the backup restored, and a server started on it. No
phone is touched meanwhile: each polls as phones do. Exit code 1 where one did not get what it is due.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import httpx

from mnet.export.format.bundle import Bundle
from mnet.toolchain.cloud.signing_keys import read_key
from mnet.toolchain.fleet.processes import ServerProcess
from tests.benchmarks.databases import command_line, databases
from tests.cloud.crowd import Crowd


def mnet(*words: str) -> float:
    """Seconds that a command took."""
    begun = time.monotonic()
    subprocess.run([sys.executable, "-m", "mnet.toolchain.cli", *words], check=True, stdout=sys.stderr)
    return time.monotonic() - begun


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the figures as JSON."""
    parser = command_line(__doc__)
    parser.add_argument("--phones", type=int, default=1000)
    options = parser.parse_args(arguments)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        new_database = databases(stack, options.database)
        given, into = (["--database", url] if (url := new_database()) else [] for _ in range(2))
        print(json.dumps(vars(options) | _drill(stack, options, folder, given, into), default=str))


def _drill(
    stack: ExitStack, options: argparse.Namespace, folder: Path, given: list[str], into: list[str]
) -> dict[str, object]:
    """Seconds of each step; `given` and `into` name the database before and after."""
    paths, count, took = (options.run, options.bundle), options.phones, dict[str, object]()
    state, backup, some = folder / "server", folder / "backup", slice(count // 2)
    enrolments = ["--enrolments", "1000000"]
    with ServerProcess(*paths, state, options=[*given, *enrolments]) as server:
        port = httpx.URL(server.url).port or 0
        crowd = Crowd(server, Bundle.load(options.bundle), count)
        stack.callback(crowd.close)
        crowd.upload(slice(count))
        took["backup_s"] = mnet("backup", "--state", str(state), *given, "--out", str(backup))
        took["backup_bytes"] = sum(path.stat().st_size for path in backup.rglob("*") if path.is_file())
        crowd.upload(some)
        crowd.join(server, count // 10)
        had = crowd.versions
        server.kill()
    shutil.rmtree(state)
    lost = time.monotonic()
    took["restore_s"] = mnet("restore", str(backup), "--state", str(state), *into)
    with ServerProcess(*paths, state, port=port, options=[*into, *enrolments]) as server:
        took["started_s"] = time.monotonic() - lost
        crowd.get_more_than(had[some], some)
        took["ahead_have_new_weights_s"] = time.monotonic() - lost
        begun, before = time.monotonic(), crowd.versions
        key = {"Authorization": f"Bearer {read_key(server.operator_key)}"}
        httpx.post(f"{server.url}/v1/push", json={}, headers=key, timeout=60).raise_for_status()
        everyone = slice(count)
        crowd.get_more_than(before[everyone], everyone)
        took["push_to_all_s"] = time.monotonic() - begun
        metrics = httpx.get(f"{server.url}/v1/fleet", headers=key, timeout=60).json()
    assert metrics["devices"] == count + count // 10, "those that enrolled after the backup were let in"
    refused = {what: times for what, times in crowd.errors.items() if "HTTP 4" in what or "wrong" in what}
    return took | {"refused": refused, "backwards": crowd.errors.get("poll: backwards", 0)}


if __name__ == "__main__":
    main()
