"""Packs and releases for a whole population at once: contexts in Parquet in, packs and releases in Parquet out.

Input: one Parquet file or a folder of them, with the columns `device` (string), `samples` (list of int64) and,
where they do not all start at 1, `version` (int64).
Output: `generation.json` with the facts of the run, and one Parquet file a part: the columns `device`, `bundle`,
`version`, `sha256`, `size`, `release` (JWS) and `pack` (safetensors). A part is named by the rows that it was made
from and written in one step; whoever runs the same command again makes the missing parts. So each device has
exactly one release, however often the generation was killed.
"""

import gc
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from export.bundle import Bundle
from export.packs import pack_digest
from toolchain.children import CONTEXT, follow_parent
from toolchain.cloud.generation import ROWS_OF_MANY, load_generators
from toolchain.cloud.keys import load_signing_key
from toolchain.cloud.publishing import RELEASE_LIFETIME_S
from toolchain.cloud.release import Release, sign_release
from toolchain.errors import UserError
from toolchain.objects import ObjectStore

ROWS_A_PART = 1024
USERS_A_PROCESS = 20_000  # below that, another process costs more time to start than it saves
FACTS = "generation.json"
Engine = Literal["local", "ray"]


@dataclass(frozen=True)
class Job:
    """What to generate, and where; all that a worker on another machine is told. Paths and URLs must be good there."""

    run: str
    bundle: str
    contexts: str
    out: str
    signing_key: str
    issued_at: int


@dataclass(frozen=True)
class Unit:
    """One row group of the contexts: what a worker reads at once. `name` is the file's below the contexts."""

    file: str
    name: str
    row_group: int
    rows: int

    def parts(self) -> list[tuple[str, int]]:
        """Name and first row of each part that it becomes."""
        stem = hashlib.sha256(self.name.encode()).hexdigest()[:12]
        return [
            (f"part-{stem}-{self.row_group:05}-{start // ROWS_A_PART:05}.parquet", start)
            for start in range(0, self.rows, ROWS_A_PART)
        ]


@dataclass(frozen=True)
class Done:
    """Users of one call that were generated now, and those that earlier calls had left finished."""

    generated: int
    before: int


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


def begun_at(out: str) -> int | None:
    """The `issued_at` of the job that `out` was begun by, to go on with it; None where there is none."""
    try:
        return int(json.loads(ObjectStore(out).read(FACTS))["issued_at"])
    except FileNotFoundError:
        return None


def generate(job: Job, units: Sequence[Unit], engine: Engine, advance: Callable[[int], None]) -> Done:
    """Make what is missing of a planned job; `advance` hears how many users are done. Raises UserError."""
    done = set(ObjectStore(job.out).names("part-"))
    missing = [unit for unit in units if any(name not in done for name, _ in unit.parts())]
    total = sum(unit.rows for unit in units)
    generated = 0
    for rows in _locally(job, missing) if engine == "local" else _on_ray(job, missing):
        generated += rows
        advance(rows)
    return Done(generated, total - generated)


class Worker:
    """Makes the parts of units; the model is loaded once for all of them."""

    def __init__(self, job: Job) -> None:
        generators = load_generators([Path(job.run)], [Path(job.bundle)], ROWS_OF_MANY)
        (self._generator,) = generators.values()
        self._key = load_signing_key(Path(job.signing_key))
        self._issued_at = job.issued_at
        self._store = ObjectStore(job.out)
        gc.freeze()  # PyTorch's million objects stay: walking them again and again took a tenth of the time

    def parts(self, unit: Unit) -> Iterator[int]:
        """Make the parts of a unit that are missing, one by one; yields how many users each has."""
        done = set(self._store.names("part-"))
        missing = [part for part in unit.parts() if part[0] not in done]
        with _opened(unit.file) as file:
            table = file.read_row_group(unit.row_group)
        for name, start in missing:
            rows = table.slice(start, ROWS_A_PART)
            self._store.write({name: self._part(rows)})
            yield rows.num_rows

    def _part(self, contexts: pa.Table) -> bytes:
        devices = contexts.column("device").to_pylist()
        samples = contexts.column("samples").to_pylist()
        versions = (
            contexts.column("version").to_pylist()
            if "version" in contexts.column_names
            else [1] * len(devices)
        )
        packs = self._generator.packs(samples, versions)
        releases = [
            Release(
                device=device,
                bundle=self._generator.bundle_id,
                version=version,
                sha256=pack_digest(pack),
                size=len(pack),
                issued_at=self._issued_at,
                expires_at=self._issued_at + RELEASE_LIFETIME_S,
            )
            for device, version, pack in zip(devices, versions, packs, strict=True)
        ]
        part = pa.table(
            {
                "device": devices,
                "bundle": [release.bundle for release in releases],
                "version": versions,
                "sha256": [release.sha256 for release in releases],
                "size": [release.size for release in releases],
                "release": [sign_release(self._key, release) for release in releases],
                "pack": pa.array(packs, pa.large_binary()),
            }
        )
        out = pa.BufferOutputStream()  # six times as fast as BytesIO
        pq.write_table(part, out, compression="none", use_dictionary=["bundle"])
        return bytes(out.getvalue().to_pybytes())


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
        raise UserError("a process was killed, for memory perhaps; the same command goes on") from error
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
        raise UserError("--engine ray needs Ray: pip install 'mnet[ray]'") from error
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
            with _opened(url) as file:
                if missing := {"device", "samples"} - set(file.schema_arrow.names):
                    raise UserError(f"{url} has no column {', '.join(sorted(missing))}")
                for group in range(file.num_row_groups):
                    yield Unit(url, path.removeprefix(root), group, file.metadata.row_group(group).num_rows)
    except (OSError, pa.ArrowInvalid) as error:
        raise UserError(f"cannot read contexts at {contexts}: {error}") from error
    if not paths:
        raise UserError(f"there is no .parquet file in {contexts}")


def _check_devices(units: Iterable[Unit]) -> None:
    """A device that stood there twice would have two releases."""
    seen: set[str] = set()
    for unit in units:
        with _opened(unit.file) as file:
            devices = file.read_row_group(unit.row_group, columns=["device"]).column("device").to_pylist()
        for device in devices:
            if not isinstance(device, str) or not device:
                raise UserError(f"{unit.file}: the column device must hold the name of one in every row")
            if device in seen:
                raise UserError(f"{unit.file}: device {device} stands in the contexts twice")
            seen.add(device)


@contextmanager
def _opened(url: str) -> Iterator[pq.ParquetFile]:
    """A Parquet file at any URL."""
    with fsspec.open(url, "rb") as file:
        yield pq.ParquetFile(file)
