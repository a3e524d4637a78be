"""The people who operate a fleet: each has a name and a key of their own, of which the database keeps a hash."""

import secrets
import time
from typing import Any

from sqlalchemy import delete, insert, select

from mnet.toolchain.cloud import audit
from mnet.toolchain.cloud.database import Database
from mnet.toolchain.cloud.tables import NamedOperator
from mnet.toolchain.cloud.tokens import hash_token

# Whoever holds the operator key in the server's key folder; it alone names the others.
BOOTSTRAP = "bootstrap"


class Operators:
    """The named operators of one database, which all its replicas know."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, name: str, by: str | None = None) -> str:
        """Name an operator; returns their key, which is kept nowhere. Raises ValueError for a taken name."""
        key, of = secrets.token_urlsafe(32), NamedOperator
        with self._database.writing() as connection:
            if name == BOOTSTRAP or connection.scalar(select(of.name).where(of.name == name)) is not None:
                raise ValueError(f"there is an operator {name} already")
            values = {"name": name, "key_sha256": hash_token(key), "added_at": time.time()}
            connection.execute(insert(of).values(values))
            audit.note(connection, "operator", "operator added", by, name=name)
        return key

    def remove(self, name: str, by: str | None = None) -> bool:
        """Make the key of an operator worthless; False where there is none of this name."""
        with self._database.writing() as connection:
            gone = connection.execute(delete(NamedOperator).where(NamedOperator.name == name)).rowcount > 0
            if gone:
                audit.note(connection, "operator", "operator removed", by, name=name)
        return gone

    def all(self) -> list[dict[str, Any]]:
        """The name of each operator, and when they were added."""
        of = NamedOperator
        with self._database.reading() as connection:
            rows = connection.execute(select(of.name, of.added_at).order_by(of.name))
            return [dict(row) for row in rows.mappings()]

    def holder(self, key: str) -> str | None:
        """Who holds a key; None where nobody does."""
        of = NamedOperator
        with self._database.reading() as connection:
            return connection.scalar(select(of.name).where(of.key_sha256 == hash_token(key)))

    def key_hash(self, name: str) -> str | None:
        """The hash of an operator's key; None where there is none of this name. It is empty for the bootstrap's."""
        if name == BOOTSTRAP:
            return ""
        of = NamedOperator
        with self._database.reading() as connection:
            return connection.scalar(select(of.key_sha256).where(of.name == name))
