"""Who did what to the fleet, and when; written in the transaction of the deed itself."""

from typing import Any, Literal

from sqlalchemy import Connection, insert, select

from mnet.toolchain.cloud.database import Database
from mnet.toolchain.cloud.tables import AuditEntry

Actor = Literal["operator", "device", "server"]


def note(connection: Connection, actor: Actor, action: str, **detail: Any) -> None:
    """Add an entry; `detail` names devices and roll-outs, never a secret or a context."""
    connection.execute(insert(AuditEntry).values(actor=actor, action=action, detail=detail))


class Audit:
    """The log of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def note(self, actor: Actor, action: str, **detail: Any) -> None:
        """Add an entry in a transaction of its own."""
        with self._database.writing() as connection:
            note(connection, actor, action, **detail)

    def newest(self, limit: int, before: int | None = None) -> list[dict[str, Any]]:
        """Up to `limit` entries, newest first, those with an id below `before` if that is given."""
        query = select(AuditEntry.id, AuditEntry.at, AuditEntry.actor, AuditEntry.action, AuditEntry.detail)
        if before is not None:
            query = query.where(AuditEntry.id < before)
        with self._database.reading() as connection:
            rows = connection.execute(query.order_by(AuditEntry.id.desc()).limit(limit))
            return [dict(row) for row in rows.mappings()]
