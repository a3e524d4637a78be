"""Packs and releases for a whole population at once: contexts in Parquet in, packs and releases in Parquet out.

Input: one Parquet file or a folder of them, with the columns `device` (string), `samples` (lists of what the task
reads: int64, lists of numbers, strings or structs) and, where they do not all start at 1, `version` (int64). A user
whose samples the task cannot read costs nobody else anything: `refused-….json` next to the part, a list of `device` and
`reason`, names those that a part lacks.
Output: `generation.json` with the facts of the run, and one Parquet file a part: the columns `device`, `bundle`,
`version`, `sha256`, `size`, `release` (JWS) and `pack` (safetensors). A part is named by the rows that it was made
from and written in one step; whoever runs the same command again makes the missing parts. So each device has
exactly one release, however often the generation was killed.
"""

import itertools
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import fsspec
import pyarrow as pa
import pyarrow.compute as pc

from mnet.export.format.bundle import Bundle
from mnet.export.format.packs import MAX_VERSION
from mnet.toolchain.cloud.auth import DEVICE_ID
from mnet.toolchain.cloud.bulk_parts import ROWS_A_PART, Job, Unit, Worker, opened
from mnet.toolchain.cloud.repeated import first_repeated
from mnet.toolchain.cloud.signing_keys import load_signing_key
from mnet.toolchain.data.read_times import is_text
from mnet.toolchain.errors import UserError
from mnet.toolchain.object_store import ObjectStore
from mnet.toolchain.spawn import CONTEXT, follow_parent

USERS_A_PROCESS = 20_000  # below that, another process costs more time to start than it saves
FACTS = "generation.json"
Engine = Literal["local", "ray"]


@dataclass(frozen=True)
class Done:
    """Users of one call that were generated now, those that earlier calls had left finished, and all left out."""

    generated: int
    before: int
    refused: int = 0


def plan(job: Job) -> list[Unit]:
    """The units of a job, after checks that need no model; starts its output, or finds it as this very job left it.

    Raises UserError for contexts that are none, a device that stands in them twice, or the output of another job.
    """
    units = list(_units(job.contexts))
    _check_devices(units)
    bundle = Bundle.load(Path(job.bundle))
    facts = {
        "bundle": bundle.id,
        "generator": bundle.manifest.model.metadata.get("generator"),
        "signing_key": load_signing_key(Path(job.signing_key)).kid,
        "issued_at": job.issued_at,
        "salt": job.salt,
        "rows_a_part": ROWS_A_PART,
        "contexts": [[unit.name, unit.row_group, unit.rows] for unit in units],
    }
    store = ObjectStore(job.out)
    try:
        found = json.loads(store.read(FACTS))
    except FileNotFoundError:
        store.write({FACTS: json.dumps(facts, indent=2).encode()})
        return units
    if changed := sorted(name for name in facts if found.get(name) != facts[name]):
        raise UserError(f"{job.out} was begun with another {', '.join(changed)}: choose another --out")
    return units


def begun(out: str) -> tuple[int, str] | None:
    """The `issued_at` and `salt` of the job that wrote `out` before, to resume it; None where there is none."""
    try:
        facts = json.loads(ObjectStore(out).read(FACTS))
        return int(facts["issued_at"]), str(facts.get("salt"))
    except FileNotFoundError:
        return None


def generate(job: Job, units: Sequence[Unit], engine: Engine, advance: Callable[[int], None]) -> Done:
    """Make what is missing of a planned job; `advance` is called with the users done. Raises UserError."""
    done = set(ObjectStore(job.out).names("part-"))
    missing = [unit for unit in units if any(name not in done for name, _ in unit.parts())]
    total = sum(unit.rows for unit in units)
    generated = 0
    for rows in _locally(job, missing) if engine == "local" else _on_ray(job, missing):
        generated += rows
        advance(rows)
    refused = _refused(ObjectStore(job.out))
    now = sum(count for part, count in refused.items() if part not in done)
    refused_before = sum(refused.values()) - now
    return Done(generated - now, total - generated - refused_before, now + refused_before)


def _refused(store: ObjectStore) -> dict[str, int]:
    """How many users each part lacks, by its name."""
    return {
        f"part-{name.removeprefix('refused-').removesuffix('.json')}.parquet": len(
            json.loads(store.read(name))
        )
        for name in store.names("refused-")
    }


def _locally(job: Job, units: Sequence[Unit]) -> Iterator[int]:
    """In as many processes as there are cores, or in this one where there is little to do."""
    if not units:
        return
    users = sum(unit.rows for unit in units)
    processes = min(os.cpu_count() or 1, len(units), users // USERS_A_PROCESS)
    if processes <= 1:
        worker = Worker(job)
        for unit in units:
            yield from worker.parts(unit)
        return
    pool = ProcessPoolExecutor(processes, CONTEXT, initializer=_start_process)
    try:
        for done in as_completed([pool.submit(_make, job, unit) for unit in units]):
            yield done.result()
    except BrokenProcessPool as error:
        raise UserError("a worker was killed (out of memory?); rerun the same command to resume") from error
    finally:
        pool.shutdown(cancel_futures=True)


def _start_process() -> None:
    import torch

    follow_parent()
    torch.set_num_threads(1)


@cache
def _worker(job: Job) -> Worker:
    return Worker(job)


def _make(job: Job, unit: Unit) -> int:
    return sum(_worker(job).parts(unit))


class _RayWorker:
    """A worker as Ray Data calls it: a batch of units in, a batch of counts out."""

    def __init__(self, job: Job) -> None:
        import torch

        torch.set_num_threads(1)
        self._job = job

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[int]]:
        columns = zip(batch["file"], batch["name"], batch["row_group"], batch["rows"], strict=True)
        units = [Unit(str(file), str(name), int(group), int(rows)) for file, name, group, rows in columns]
        return {"rows": [_make(self._job, unit) for unit in units]}


def _on_ray(job: Job, units: list[Unit]) -> Iterator[int]:
    """The same on Ray Data: on the cluster that `RAY_ADDRESS` names, else on one started here and now."""
    if not units:
        return
    try:
        import ray
    except ImportError as error:
        raise UserError("--engine ray needs Ray: pip install 'mnet-mobile[ray]'") from error
    ray.init(ignore_reinit_error=True, log_to_driver=False, include_dashboard=False, logging_level="warning")
    workers = max(1, min(len(units), int(ray.cluster_resources().get("CPU", 1)) - 1))
    ray.data.DataContext.get_current().enable_progress_bars = False
    counts = ray.data.from_items(
        [asdict(unit) for unit in units], override_num_blocks=len(units)
    ).map_batches(_RayWorker, fn_constructor_args=(job,), batch_size=1, concurrency=workers, num_cpus=1)
    for row in counts.iter_rows():
        yield int(row["rows"])


def _units(contexts: str) -> Iterator[Unit]:
    """Every row group of every file, in the order of their names."""
    try:
        fs, root = fsspec.core.url_to_fs(contexts)
        folder = fs.isdir(root)
        paths = sorted(path for path in fs.find(root) if path.endswith(".parquet")) if folder else [root]
        for path in paths:
            url = fs.unstrip_protocol(path)
            with opened(url) as file:
                if missing := {"device", "samples"} - set(file.schema_arrow.names):
                    raise UserError(f"{url} has no column {', '.join(sorted(missing))}")
                for group in range(file.num_row_groups):
                    yield Unit(url, path.removeprefix(root), group, file.metadata.row_group(group).num_rows)
    except (OSError, pa.ArrowInvalid) as error:
        raise UserError(f"cannot read contexts at {contexts}: {error}") from error
    if not paths:
        raise UserError(f"there is no .parquet file in {contexts}")


def _check_devices(units: Sequence[Unit]) -> None:
    """A device that stood there twice would have two releases; one that no server enrols could have none."""
    known = f"^(?:{DEVICE_ID.pattern})$"
    for file, rows in _named(units):
        for row in _not_all(pc.match_substring_regex(rows["device"], known), rows):
            raise UserError(f"{file}: {row['device']!r} is no device id: up to 64 letters, digits and _")
        if "version" in rows.column_names:
            right = pc.and_(pc.greater_equal(rows["version"], 1), pc.less_equal(rows["version"], MAX_VERSION))
            for row in _not_all(right, rows):
                raise UserError(
                    f"{file}: device {row['device']} has version {row['version']}; versions are 1 to {MAX_VERSION}"
                )
    count = sum(unit.rows for unit in units)
    repeated = first_repeated(lambda: (rows["device"] for _, rows in _named(units)), count)
    if repeated is not None:
        places = [
            file for file, rows in _named(units) if _not_all(pc.not_equal(rows["device"], repeated), rows)
        ]
        raise UserError(f"{places[-1]}: device {repeated} stands in the contexts twice")


def _not_all(right: pa.Array, rows: pa.RecordBatch) -> list[dict[str, Any]]:
    """The rows for which `right` is false or null."""
    wrong: list[dict[str, Any]] = rows.filter(pc.invert(pc.fill_null(right, False))).to_pylist()
    return wrong


def _named(units: Sequence[Unit]) -> Iterator[tuple[str, pa.RecordBatch]]:
    """File, devices and, where they are there, versions: some rows at a time, and no samples."""
    for url, of_file in itertools.groupby(units, lambda unit: unit.file):
        with opened(url) as file:
            groups = [unit.row_group for unit in of_file]
            schema = file.schema_arrow
            names = [name for name in ("device", "version") if name in schema.names]
            types = {name: _value_type(schema.field(name).type) for name in names}
            if not is_text(types["device"]):
                raise UserError(
                    f"{url}: column device, of type {types['device']}, is no device id, which is text"
                )
            if not pa.types.is_integer(types.get("version", pa.int64())):
                raise UserError(
                    f"{url}: column version is of type {types['version']}; versions are whole numbers"
                )
            for rows in file.iter_batches(row_groups=groups, columns=names):
                yield url, rows.cast(pa.schema(types))


def _value_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind
