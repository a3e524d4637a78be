"""Users a second of `mnet generate`, signed and written, next to the bare batched forward pass.

    python -m tests.benchmarks.bulk RUN BUNDLE --users 20000

The bare pass generates weights for the same contexts in batches of the same size, and does nothing with them.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from toolchain.cloud.bulk import Engine, Job, generate, plan
from toolchain.cloud.generation import ROWS
from toolchain.cloud.keys import create_signing_key
from toolchain.fleet.replay import recommender
from toolchain.training.run import Run, load_run

SAMPLES = 20
ROW_GROUP = 2048


def write_contexts(path: Path, users: int, items: int) -> list[list[int]]:
    """Random contexts in one Parquet file."""
    contexts = np.random.default_rng(0).integers(1, items + 1, size=(users, SAMPLES)).tolist()
    table = pa.table({"device": [f"{user:08x}" for user in range(users)], "samples": contexts})
    pq.write_table(table, path, row_group_size=ROW_GROUP)
    return contexts


@torch.inference_mode()
def bare(run: Run, contexts: list[list[int]]) -> float:
    """Users a second of the forward pass alone."""
    rows = torch.cat([run.task.context(samples) for samples in contexts])
    run.metanetwork.generate(rows[:ROWS])
    start = time.perf_counter()
    for batch in rows.split(ROWS):
        run.metanetwork.generate(batch)
    return len(contexts) / (time.perf_counter() - start)


def whole(job: Job, engine: Engine) -> float:
    """Users a second of a generation from start to end, loading of the model included."""
    start = time.perf_counter()
    done = generate(job, plan(job), engine, lambda _rows: None)
    return done.generated / (time.perf_counter() - start)


def main() -> int:
    """Print the figures as JSON."""
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
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        contexts = write_contexts(folder / "contexts.parquet", args.users, recommender(run).n_items)
        create_signing_key(folder / "signing.pem")
        found = {"users": args.users, "forward pass alone": bare(run, contexts)}
        for engine in args.engine or ["local"]:
            job = Job(
                run=str(args.run.absolute()),
                bundle=str(args.bundle.absolute()),
                contexts=str(folder / "contexts.parquet"),
                out=str(folder / engine),
                signing_key=str(folder / "signing.pem"),
                issued_at=int(time.time()),
            )
            found[engine] = whole(job, engine)
    print(json.dumps({what: round(figure) for what, figure in found.items()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
