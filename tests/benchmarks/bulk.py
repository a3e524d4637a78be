"""Users a second of `mnet generate`, signed and written, next to the bare batched forward pass.

    python -m tests.benchmarks.bulk RUN BUNDLE --users 20000

The bare pass generates weights for the same contexts in batches of the same size on one core, and does nothing with
them. `busy` counts the seconds that cores were busy for it (Ray's own processes are not seen), `wall` those on the
clock, both with the start of processes and the loading of the model; `steady` is from the first part written on.
"""

import argparse
import json
import os
import secrets
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from mnet.toolchain.cloud.bulk import Engine, generate, plan
from mnet.toolchain.cloud.bulk_parts import Job
from mnet.toolchain.cloud.generation import ROWS_OF_MANY
from mnet.toolchain.cloud.signing_keys import create_signing_key
from mnet.toolchain.tasks.recommendation import Recommendation
from mnet.toolchain.training.run import Run, load_run

SAMPLES = 20
ROW_GROUP = 2048


def write_contexts(path: Path, users: int, items: int) -> list[list[int]]:
    """Random contexts in one Parquet file."""
    contexts = np.random.default_rng(0).integers(1, items + 1, size=(users, SAMPLES)).tolist()
    table = pa.table({"device": [f"{user:08x}" for user in range(users)], "samples": contexts})
    pq.write_table(table, path, row_group_size=ROW_GROUP)
    return contexts


def busy_s() -> float:
    """Seconds of processor time of this process and of those that it has waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


@torch.inference_mode()
def bare(run: Run, contexts: list[list[int]]) -> dict[str, float]:
    """Users a second of the forward pass alone."""
    rows = torch.cat([run.task.context(samples) for samples in contexts])
    run.metanetwork.generate(rows[:ROWS_OF_MANY])
    start, busy = time.perf_counter(), busy_s()
    for batch in rows.split(ROWS_OF_MANY):
        run.metanetwork.generate(batch)
    wall = time.perf_counter() - start
    return {"wall": len(contexts) / wall, "busy": len(contexts) / (busy_s() - busy)}


def whole(job: Job, engine: Engine) -> dict[str, float]:
    """Users a second of a generation from start to end."""
    written: list[tuple[float, int]] = []
    start, busy = time.perf_counter(), busy_s()
    units = plan(job)
    done = generate(job, units, engine, lambda rows: written.append((time.perf_counter(), rows)))
    wall = time.perf_counter() - start
    rates = {"wall": done.generated / wall}
    if engine == "local":
        rates["busy"] = done.generated / (busy_s() - busy)
    (first, rows), (last, _) = written[0], written[-1]
    if last > first:
        rates["steady"] = (done.generated - rows) / (last - first)
    return rates


def main() -> int:
    """Print a JSON line for each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--engine", choices=("local", "ray"), action="append", default=[])
    args = parser.parse_args()
    torch.set_num_threads(1)
    run = load_run(args.run)
    assert isinstance(run.task, Recommendation)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        contexts = write_contexts(folder / "contexts.parquet", args.users, run.task.n_items)
        create_signing_key(folder / "signing.pem")
        found = {"forward pass alone": bare(run, contexts)}
        for engine in args.engine or ["local"]:
            job = Job(
                run=str(args.run.absolute()),
                bundle=str(args.bundle.absolute()),
                contexts=str(folder / "contexts.parquet"),
                out=str(folder / engine),
                signing_key=str(folder / "signing.pem"),
                issued_at=int(time.time()),
                salt=secrets.token_hex(16),
            )
            found[engine] = whole(job, engine)
    for what, rates in found.items():
        print(json.dumps({"what": what, **{name: round(rate) for name, rate in rates.items()}}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
