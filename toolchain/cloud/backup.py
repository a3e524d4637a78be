"""A copy of all that a server cannot make again: its database, its keys and the packs that operators pushed.

A folder: every table as JSON lines, compressed, the packs that many devices share, the keys, and at last `backup.json`,
without which it is none. Packs of single devices are left out: the server makes them again from their contexts. It is
the same for SQLite and PostgreSQL, and a backup of one restores into the other.
"""

import gzip
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import JSON, Connection, MetaData, Table, delete, func, insert, select, text, update

from mnet.toolchain.cloud.database import Database
from mnet.toolchain.cloud.facts import begin_restore, note_restored, restoring
from mnet.toolchain.cloud.pack_store import SHARED, PackStore
from mnet.toolchain.cloud.registry import LEFT_BEHIND
from mnet.toolchain.cloud.state import ServerState
from mnet.toolchain.cloud.tables import Base, Device, IssuedRelease, Rollout
from mnet.toolchain.durable import write_durably
from mnet.toolchain.errors import UserError

FACTS = "backup.json"
_ROWS = 1000


@dataclass(frozen=True)
class Copied:
    """What a backup holds: when it was made (Unix seconds), its schema, devices, rows of all tables, and packs."""

    at: float
    schema: str
    devices: int
    rows: int
    packs: int


def back_up(state: ServerState, database: Database, packs: PackStore, out: Path) -> Copied:
    """Write a backup to the new folder `out`, of one moment, while servers run. Raises UserError where that fails."""
    try:
        out.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        raise UserError(f"{out} exists: give each backup a folder of its own") from None
    at, rows = time.time(), 0
    with database.snapshot() as connection:
        schema = connection.scalar(text("SELECT version_num FROM alembic_version"))
        for table in Base.metadata.sorted_tables:
            rows += _dump(connection, table, out / f"{table.name}.jsonl.gz")
        devices = connection.scalar(select(func.count()).select_from(Device)) or 0
        released = select(IssuedRelease.sha256).where(IssuedRelease.shared, IssuedRelease.jws.is_not(None))
        pushed = select(Rollout.pack).where(Rollout.pack.is_not(None))
        shared = {pack for query in (released, pushed) for pack in connection.scalars(query) if pack}
    kept = 0
    for sha256 in shared:
        try:
            data = packs.read(SHARED, sha256)
        except FileNotFoundError:
            continue  # of a roll-out that is over
        _write(out / "packs" / sha256, data)
        kept += 1
    for path in state.keys.iterdir():
        if path.is_dir():
            continue  # of Kubernetes, beside the files of a secret
        _write(out / "keys" / path.name, path.read_bytes())
    copied = Copied(at, str(schema), devices, rows, kept)
    write_durably(out / FACTS, json.dumps(vars(copied)).encode(), mode=0o600)
    return copied


def read_backup(folder: Path) -> Copied:
    """What a backup says of itself; UserError where it is none, or was never finished."""
    try:
        return Copied(**json.loads((folder / FACTS).read_bytes()))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{folder} is no finished backup, as `mnet backup` writes it: {error}") from error


def restore(folder: Path, url: str, packs: PackStore) -> Copied:
    """Fill an empty database at `url`, and the store of packs, from a backup.

    One that was interrupted is done again by the next call; no server starts on it meanwhile. Raises UserError where
    the database holds something else.
    """
    copied = read_backup(folder)
    packs.put_all([(SHARED, path.read_bytes()) for path in sorted((folder / "packs").glob("*"))])
    database = Database(url, copied.schema)
    try:
        with database.writing() as connection:
            _load_all(connection, folder)
            begin_restore(connection)
    finally:
        database.close()
    newest = Database(url)
    with newest.writing() as connection:
        version = func.coalesce(Device.backed_up, Device.version)
        # Those too that had no version: they may have been given one since.
        above = {"backed_up": version, "version": Device.version + LEFT_BEHIND}
        connection.execute(update(Device).values(above))
        note_restored(connection, copied.at, time.time())
    newest.close()
    return copied


def restore_keys(folder: Path, state: ServerState) -> None:
    """Put the keys of a backup where there are none."""
    state.keys.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in (folder / "keys").iterdir():
        if not (state.keys / path.name).exists():
            write_durably(state.keys / path.name, path.read_bytes(), mode=0o600)


def _dump(connection: Connection, table: Table, path: Path) -> int:
    count = 0
    columns = connection.execution_options(yield_per=_ROWS).execute(select(table))
    with gzip.open(path, "wt", encoding="utf-8") as out:
        for row in columns.mappings():
            out.write(json.dumps(dict(row)) + "\n")
            count += 1
    path.chmod(0o600)
    return count


def _load_all(connection: Connection, folder: Path) -> None:
    if connection.scalar(text("SELECT count(*) FROM devices")) and not restoring(connection):
        raise UserError("the database holds devices already: a backup is restored into an empty one")
    tables = MetaData()
    tables.reflect(connection)
    files = [(table, folder / f"{table.name}.jsonl.gz") for table in tables.sorted_tables]
    files = [(table, rows) for table, rows in files if rows.exists()]
    for table, _ in reversed(files):  # rows that the schema begins with, which are in the backup too
        connection.execute(delete(table))
    for table, rows in files:
        _load(connection, table, rows)
    if connection.dialect.name == "postgresql":
        _count_on(connection, tables)


def _load(connection: Connection, table: Table, path: Path) -> None:
    for column in table.columns:
        if isinstance(column.type, JSON):
            column.type = JSON(none_as_null=True)
    for rows in _parts(path):
        connection.execute(insert(table), rows)


def _parts(path: Path) -> Iterator[list[dict[str, Any]]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        part: list[dict[str, Any]] = []
        for line in lines:
            part.append(json.loads(line))
            if len(part) == _ROWS:
                yield part
                part = []
        if part:
            yield part


def _count_on(connection: Connection, tables: MetaData) -> None:
    """PostgreSQL counts apart from the rows: the next id follows the last one that was restored."""
    for table in tables.sorted_tables:
        if "id" in table.columns and table.columns["id"].type.python_type is int:
            last = select(func.max(table.columns["id"])).scalar_subquery()
            sequence = func.pg_get_serial_sequence(table.name, "id")
            connection.execute(select(func.setval(sequence, func.coalesce(last, 0) + 1, False)))


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    write_durably(path, data, mode=0o600)
