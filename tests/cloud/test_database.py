"""Opening a database: brought to today's schema whatever it was, and refused in one line."""

import re
import socket
import sqlite3
import time
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from mnet.toolchain.cloud import migrations
from mnet.toolchain.cloud.database import Database, _log_ahead
from mnet.toolchain.cloud.ledger import Ledger
from mnet.toolchain.cloud.registry import Registry
from mnet.toolchain.cloud.rollouts import Rollouts
from mnet.toolchain.cloud.tables import Base
from mnet.toolchain.errors import UserError
from mnet.toolchain.fleet.postgres import PostgresServer
from tests.cloud.driven import settled

VERSIONS = Path(migrations.__file__).parent / "versions"
# What a server before migrations made, with two phones: one up to date, one whose release is still to be made.
BEFORE_MIGRATIONS = """
CREATE TABLE devices (id VARCHAR NOT NULL, token_sha256 VARCHAR NOT NULL, bundle VARCHAR NOT NULL,
    version INTEGER NOT NULL, enrolled_at DOUBLE NOT NULL, PRIMARY KEY (id));
CREATE TABLE contexts (device VARCHAR NOT NULL, samples JSON NOT NULL, uploaded_at DOUBLE NOT NULL,
    PRIMARY KEY (device), FOREIGN KEY(device) REFERENCES devices (id));
CREATE TABLE releases (device VARCHAR NOT NULL, version INTEGER NOT NULL, sha256 VARCHAR NOT NULL,
    expires_at INTEGER NOT NULL, jws VARCHAR NOT NULL, PRIMARY KEY (device, version),
    FOREIGN KEY(device) REFERENCES devices (id));
CREATE INDEX ix_releases_sha256 ON releases (sha256);
INSERT INTO devices VALUES ('a', 'hash-a', 'bundle', 3, 1.0), ('b', 'hash-b', 'bundle', 1, 1.0);
INSERT INTO contexts VALUES ('a', '[1, 2]', 1.0), ('b', '[3]', 1.0);
INSERT INTO releases VALUES ('a', 2, 'a2', 99, 'jws-a-2'), ('a', 3, 'a3', 99, 'jws-a-3');
"""


def test_the_migrations_make_the_tables_of_the_code(database: Database) -> None:
    with database.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []


@pytest.mark.parametrize("path", sorted(VERSIONS.glob("m0*.py")), ids=lambda path: path.stem)
def test_a_migration_is_as_it_was_whatever_the_code_becomes(path: Path) -> None:
    assert not re.search(r"^\s*(from|import) (mnet|tests)", path.read_text(encoding="utf-8"), re.MULTILINE)


def test_a_database_is_opened_again_as_it_was_left(database: Database, database_url: str) -> None:
    Registry(database).enrol("a", "hash", "bundle")
    again = Database(database_url)
    assert Registry(again).bundles("a") == ["bundle"]
    again.close()


def test_what_was_there_before_migrations_is_carried_over(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "mnet.db") as old:
        old.executescript(BEFORE_MIGRATIONS)
    old.close()
    database = Database(f"sqlite:///{tmp_path / 'mnet.db'}")
    registry, ledger = Registry(database), Ledger(database)
    known = registry.known("a")
    assert known is not None
    assert (known.token_sha256, known.bundle, registry.bundles("b")) == ("hash-a", "bundle", ["bundle"])
    assert ledger.release_after("a", "bundle", 0) == "jws-a-3"
    assert ledger.unreleased(["bundle"], float("inf")) == ["b"]
    (wanted,) = ledger.wanted(["a", "b"])
    assert (wanted.device, wanted.version, wanted.samples) == ("b", 1, [3])
    assert ledger.add_context("a", [4]) == 4
    database.close()


def test_roll_outs_of_before_are_as_far_as_they_will_go(database_url: str) -> None:
    """A push that an older server left half done would else reach phones at the upgrade, unasked."""
    old = Database(database_url, "0004")
    with old.writing() as connection:
        for statement in (
            "INSERT INTO devices (id, bundle, version, pending, wanted_at, enrolled_at, keys) "
            "VALUES ('a', 'bundle', 3, false, 0, 1, 0), ('b', 'bundle', 1, false, 0, 1, 0)",
            "INSERT INTO installations (device, bundle) VALUES ('a', 'bundle'), ('b', 'bundle')",
            "INSERT INTO contexts (device, samples, uploaded_at) VALUES ('a', '[1]', 1), ('b', '[2]', 1)",
            "INSERT INTO rollouts (percent, stop_above, state, started_at) VALUES (100, 0.01, 'running', 5)",
            "INSERT INTO releases (device, bundle, version, sha256, rollout, issued_at, expires_at, jws, outcome, "
            "shared) VALUES ('a', 'bundle', 3, 'x', 1, 6, 7, 'jws', 'taken', false)",
        ):
            connection.exec_driver_sql(statement)
    old.close()
    database = Database(database_url)
    rollouts = Rollouts(database)
    assert rollouts.advance() == []
    status = rollouts.status(1)
    assert (status["state"], status["reached"], status["outcomes"]) == ("done", 1, {"taken": 1})
    assert Ledger(database).release_after("a", "bundle", 0) == "jws"
    assert Ledger(database).add_context("b", [3]) == 2
    assert settled(rollouts, rollouts.start(None, 100, 0)).versions == {"a": 4}
    database.close()


def test_what_is_no_database_is_the_users_mistake(tmp_path: Path) -> None:
    path = tmp_path / "mnet.db"
    path.write_bytes(b"not a database, long enough to be looked at" * 100)
    for url, message in (
        (f"sqlite:///{path}", "cannot open the database"),
        ("postgresql://someone:secret@127.0.0.1:1/mnet", "cannot open the database 127.0.0.1:1/mnet"),
        ("mysql://127.0.0.1/mnet", "SQLite or a PostgreSQL"),
        ("no url", "cannot open the database"),
        ("postgresql//someone:secret@127.0.0.1/mnet", "not of the form"),
        (
            "postgresql://127.0.0.1:1/mnet?user=someone&password=secret",
            "cannot open the database 127.0.0.1:1/mnet:",
        ),
    ):
        with pytest.raises(UserError, match=message) as mistake:
            Database(url)
        assert "secret" not in str(mistake.value)


def test_a_newer_schema_is_the_users_mistake(database: Database, database_url: str) -> None:
    with database.writing() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(UserError, match="is of a newer mnet") as mistake:
        Database(database_url)
    assert "\n" not in str(mistake.value)


def test_a_silent_network_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and never says a word
        start = time.monotonic()
        with pytest.raises(UserError, match="cannot open the database"):
            Database(f"postgresql://someone@127.0.0.1:{silent.getsockname()[1]}/mnet")
        assert time.monotonic() - start < 20


def test_a_transaction_that_nobody_ends_is_ended(postgres: PostgresServer) -> None:
    def shown(url: str) -> object:
        opened = Database(url)
        with opened.reading() as connection:
            value = connection.exec_driver_sql("SHOW idle_in_transaction_session_timeout").scalar()
        opened.close()
        return value

    url = postgres.new_database()
    assert shown(url) == "1min"
    assert shown(f"{url}?options=-c%20idle_in_transaction_session_timeout%3D7000") == "7s", (
        "the URL has its way"
    )


def test_a_database_that_another_makes_at_the_same_moment_is_waited_for() -> None:
    """SQLite refuses one of two that switch to WAL at once; which one, and when, no test can choose."""
    tried: list[str] = []

    class Busy:
        def execute(self, statement: str) -> None:
            tried.append(statement)
            if len(tried) < 3:
                raise sqlite3.OperationalError("database is locked")

    _log_ahead(Busy())
    assert tried == ["PRAGMA journal_mode=WAL"] * 3
