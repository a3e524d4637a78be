"""The parts of a bulk generation: a row group of contexts in, Parquet files of packs and signed releases out.

`bulk` says what the files hold, and sees to it that none is made twice.
"""

import gc
import hashlib
import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from mnet.export.format.packs import pack_digest
from mnet.toolchain.cloud.generation import ROWS_OF_MANY, PackGenerator, load_generators
from mnet.toolchain.cloud.publishing import RELEASE_LIFETIME_S
from mnet.toolchain.cloud.sealing import pack_salt
from mnet.toolchain.cloud.signing_keys import load_signing_key
from mnet.toolchain.contract.release import Release, sign_release
from mnet.toolchain.errors import UserError
from mnet.toolchain.object_store import ObjectStore

ROWS_A_PART = 1024
_PART = pa.schema(
    {
        "device": pa.string(),
        "bundle": pa.string(),
        "version": pa.int64(),
        "sha256": pa.string(),
        "size": pa.int64(),
        "release": pa.string(),
        "pack": pa.large_binary(),
    }
)


@dataclass(frozen=True)
class Job:
    """What to generate, and where; all that a worker on another machine gets. Paths and URLs must be good there.

    `salt` is a secret by which equal contexts do not give equal hashes of packs.
    """

    run: str
    bundle: str
    contexts: str
    out: str
    signing_key: str
    issued_at: int
    salt: str


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


class Worker:
    """Makes the parts of units; the model is loaded once for all of them."""

    def __init__(self, job: Job) -> None:
        (generator,) = load_generators([Path(job.run)], [Path(job.bundle)], ROWS_OF_MANY).values()
        if not isinstance(generator, PackGenerator):
            raise UserError(f"bundle {job.bundle} was exported from no run: nothing generates packs for it")
        self._generator = generator
        self._key = load_signing_key(Path(job.signing_key))
        self._issued_at = job.issued_at
        self._salt = job.salt.encode()
        self._store = ObjectStore(job.out)
        gc.freeze()  # PyTorch's million objects stay: walking them again and again took a tenth of the time

    def parts(self, unit: Unit) -> Iterator[int]:
        """Make the parts of a unit that are missing, one by one; yields how many users each has."""
        done = set(self._store.names("part-"))
        if all(name in done for name, _ in unit.parts()):
            return
        with opened(unit.file) as file:
            yield from self._parts_of(file, unit, done)

    def _parts_of(self, file: pq.ParquetFile, unit: Unit, done: Collection[str]) -> Iterator[int]:
        for (name, _), rows in zip(unit.parts(), _in_parts(file, unit), strict=True):
            if name in done:
                continue
            refused: list[dict[str, str]] = []
            try:
                part = self._part(rows)
            except (ValueError, TypeError):
                rows_of_use, refused = self._sorted_out(rows)
                part = self._part(rows_of_use)
            if refused:  # first, so that a kill in between loses none of it
                to = name.replace("part-", "refused-").replace(".parquet", ".json")
                self._store.write({to: json.dumps(refused, indent=2).encode()})
            self._store.write({name: part})
            yield rows.num_rows

    def _sorted_out(self, contexts: pa.Table) -> tuple[pa.Table, list[dict[str, str]]]:
        """The rows that weights can be made of, and the device and what is wrong of each other."""
        refused: dict[str, str] = {}
        for device, samples in zip(*contexts.select(["device", "samples"]).to_pydict().values(), strict=True):
            try:
                self._generator.packs([samples], [1])
            except (ValueError, TypeError) as error:
                refused[device] = str(error)
        kept = pa.array([device not in refused for device in contexts.column("device").to_pylist()])
        return contexts.filter(kept), [{"device": name, "reason": why} for name, why in refused.items()]

    def _part(self, contexts: pa.Table) -> bytes:
        devices = contexts.column("device").to_pylist()
        samples = contexts.column("samples").to_pylist()
        versions = (
            contexts.column("version").to_pylist()
            if "version" in contexts.column_names
            else [1] * len(devices)
        )
        salts = [pack_salt(self._salt, device) for device in devices]
        packs = self._generator.packs(samples, versions, salts=salts)
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
                "pack": packs,
            },
            schema=_PART,
        )
        out = pa.BufferOutputStream()  # six times as fast as BytesIO
        pq.write_table(part, out, compression="none", use_dictionary=["bundle"])
        return bytes(out.getvalue().to_pybytes())


def _in_parts(file: pq.ParquetFile, unit: Unit) -> Iterator[pa.Table]:
    """The rows of each part of a unit: no more of a row group, which may hold millions, is in memory at a time."""
    schema, held = file.schema_arrow, file.schema_arrow.empty_table()
    for batch in file.iter_batches(ROWS_A_PART, row_groups=[unit.row_group]):
        held = pa.concat_tables([held, pa.Table.from_batches([batch], schema)])  # a batch may be shorter
        while len(held) >= ROWS_A_PART:
            yield held.slice(0, ROWS_A_PART)
            held = held.slice(ROWS_A_PART)
    if len(held):
        yield held


@contextmanager
def opened(url: str) -> Iterator[pq.ParquetFile]:
    """A Parquet file at any URL."""
    with fsspec.open(url, "rb") as file:
        yield pq.ParquetFile(file)
