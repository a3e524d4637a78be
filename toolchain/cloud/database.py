"""The database behind the service: SQLite in a file, or PostgreSQL by URL, brought to today's schema when opened."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, create_engine, event, func, inspect, make_url, select, text
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import (
    ArgumentError,
    InterfaceError,
    NoSuchModuleError,
    OperationalError,
    SQLAlchemyError,
    TimeoutError,
)

from mnet.toolchain.contract.jws import KeyAway
from mnet.toolchain.errors import UserError
from mnet.toolchain.object_store import StoreAway

# SQLAlchemy closes what is over the pool after each use, and opening costs more than a query. SQLite's are file
# handles: as many as the server has threads. PostgreSQL's are processes, and its default allows a hundred of them.
_CONNECTIONS = {"sqlite": 48, "postgresql": 20}
# What a database, a store or a signing key raises that is away or overloaded, and may be back soon.
OUTAGE = (OperationalError, InterfaceError, TimeoutError, StoreAway, KeyAway)
# A network that goes silent would else hold each request for minutes: TCP's patience, not ours.
_PATIENCE = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    "options": "-c idle_in_transaction_session_timeout=60000",
}
# Keys of PostgreSQL's advisory locks, of this program alone.
_MIGRATING, _RELEASING = 0x6D6E6574_0001, 0x6D6E6574_0002


def cause(error: BaseException) -> str:
    """Why a database, a store or a key failed, for a log: the first line of what it said itself, and no query."""
    said = getattr(error, "orig", None) or error
    return f"{type(said).__name__}: {(str(said).strip() or 'no reason given').splitlines()[0]}"


def _shown(url: str) -> str:
    """A URL without who opens it, and by which password; options may hold one too."""
    return url.rpartition("@")[2].rpartition("//")[2].partition("?")[0]


class Database:
    """A pool of connections; safe to use from several threads, and by several processes at once."""

    def __init__(self, url: str, schema: str = "head") -> None:
        """Open or create the database at an SQLAlchemy `url`; UserError where that fails.

        An older `schema` than today's is for who fills it from a backup.
        """
        self._damage: str | None = None
        try:
            parsed = make_url(url)
            if parsed.drivername in ("postgresql", "postgres"):
                parsed = parsed.set(drivername="postgresql+psycopg")
            self.dialect = parsed.get_backend_name()
            if self.dialect not in _CONNECTIONS:
                raise UserError(
                    f"the database is {self.dialect}: give the URL of an SQLite or a PostgreSQL one"
                )
            patience = _PATIENCE if self.dialect == "postgresql" else {}
            # The parameters that are hidden from logs hold contexts.
            self._engine = create_engine(
                parsed,
                hide_parameters=True,
                connect_args={name: value for name, value in patience.items() if name not in parsed.query},
                pool_size=_CONNECTIONS[self.dialect],
                max_overflow=0,
                pool_pre_ping=self.dialect == "postgresql",  # a restarted database costs no request
            )
            if self.dialect == "sqlite":
                _make_durable(self._engine)
            event.listen(self._engine, "handle_error", self._note_damage)
            self._upgrade(schema)
        except ArgumentError:
            form = "sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME"
            # Neither it nor what is said of it is shown: a password may be anywhere in what is no URL.
            raise UserError(f"cannot open the database: its URL is not of the form {form}") from None
        except CommandError as error:
            raise UserError(
                f"the database {_shown(url)} is of a newer mnet than this one, which cannot read it: {error}"
            ) from error
        except (SQLAlchemyError, ImportError) as error:
            reason = cause(error)
            if isinstance(error, ModuleNotFoundError | NoSuchModuleError):
                reason += "; pip install 'mnet-mobile[postgres]'"
            raise UserError(f"cannot open the database {_shown(url)}: {reason}") from error
        self._turn = threading.Lock()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection for queries."""
        with self._engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction. SQLite's writers queue here: it has one at a time, and its own queue sleeps up to 100 ms."""
        sqlite = self.dialect == "sqlite"
        turn: AbstractContextManager[Any] = self._turn if sqlite else nullcontext()
        with turn, self._engine.begin() as connection:
            if sqlite:  # else it would begin at the first change, after what was read for it
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """A connection on which every query sees the same moment, however long it takes."""
        with self._engine.connect() as connection:
            if self.dialect == "sqlite":
                connection.exec_driver_sql("BEGIN")
            else:
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
            yield connection
            connection.rollback()

    @contextmanager
    def releasing(self) -> Iterator[Connection]:
        """A transaction that inserts releases: one at a time over all replicas.

        So the ids of releases rise in the order of their commits, and none is ever made twice.
        """
        with self.writing() as connection:
            if self.dialect == "postgresql":
                connection.execute(select(func.pg_advisory_xact_lock(_RELEASING)))
            yield connection

    def probe(self) -> None:
        """Write something, and take it back; raises one of OUTAGE where that fails, as on a full disk."""
        with self.writing() as connection:
            connection.execute(text("INSERT INTO facts (name, value) VALUES ('probe', '')"))
            connection.execute(text("DELETE FROM facts WHERE name = 'probe'"))

    @property
    def damage(self) -> str | None:
        """What the database said when it was found damaged, by any query since the start; None if it never was."""
        return self._damage

    def _note_damage(self, context: ExceptionContext) -> None:
        found = str(context.original_exception)
        if isinstance(context.original_exception, sqlite3.DatabaseError) and "malformed" in found:
            self._damage = found

    def scrub(self) -> None:
        """Empty SQLite's log, where what was deleted would lie until it is written over; as far as nobody reads it."""
        if self.dialect == "sqlite":
            with self._turn, self._engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    def _upgrade(self, schema: str) -> None:
        """Take the migrations that the database lacks; replicas that start together take turns."""
        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        with self._engine.connect() as connection:
            if self.dialect == "sqlite":
                # Rebuilding a table drops it; and Python begins no transaction of its own before DDL.
                connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            else:
                connection.execute(select(func.pg_advisory_xact_lock(_MIGRATING)))
            config.attributes["connection"] = connection
            tables = inspect(connection).get_table_names()
            if "devices" in tables and "alembic_version" not in tables:
                command.stamp(config, "0001")  # made before there were migrations
            command.upgrade(config, schema)
            connection.commit()
            connection.detach()  # the next one has foreign keys on


def _make_durable(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def set_pragmas(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA busy_timeout=30000")
        _log_ahead(connection)
        connection.execute("PRAGMA synchronous=FULL")  # a version given out must survive a power loss
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA secure_delete=ON")  # an erased context is overwritten, not just unlinked


def _log_ahead(connection: Any) -> None:
    """Switch to WAL; where workers make a database together, SQLite refuses all but one of them without waiting."""
    for wait_s in (0.1, 0.2, 0.4, 0.8, 1.6, 3.2):
        with suppress(sqlite3.OperationalError):
            connection.execute("PRAGMA journal_mode=WAL")
            return
        time.sleep(wait_s)
    connection.execute("PRAGMA journal_mode=WAL")
