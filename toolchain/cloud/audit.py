"""Who did what to the fleet, and when; written in the transaction of the deed itself."""

from typing import Any, Literal

from sqlalchemy import Connection, case, delete, insert, or_, select

from mnet.toolchain.cloud.database import Database
from mnet.toolchain.cloud.tables import AuditEntry

# What operators did is kept longer than what devices and servers do by themselves.
PEOPLE_S, MACHINES_S = 2 * 365 * 24 * 3600, 90 * 24 * 3600

Actor = Literal["operator", "device", "server"]


def note(connection: Connection, actor: Actor, action: str, **detail: Any) -> None:
    """Add an entry; `detail` names devices and roll-outs, never a secret or a context."""
    connection.execute(insert(AuditEntry).values(actor=actor, action=action, detail=detail))


def prune(connection: Connection, now: float) -> None:
    """Delete entries over their time; `now` in Unix seconds. Erasures are kept for as long as what people did."""
    by_people = or_(AuditEntry.actor == "operator", AuditEntry.action == "erased")
    kept_s = case((by_people, PEOPLE_S), else_=MACHINES_S)
    connection.execute(delete(AuditEntry).where(AuditEntry.at < now - kept_s))


class Audit:
    """The log of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def note(self, actor: Actor, action: str, **detail: Any) -> None:
        """Add an entry in a transaction of its own."""
        with self._database.writing() as connection:
            note(connection, actor, action, **detail)

    def erased(self, device: str) -> bool:
        """Whether a device was erased."""
        named = AuditEntry.detail["device"].as_string() == device
        query = select(AuditEntry.id).where(AuditEntry.action == "erased", named).limit(1)
        with self._database.reading() as connection:
            return connection.scalar(query) is not None

    def newest(self, limit: int, before: int | None = None) -> list[dict[str, Any]]:
        """Up to `limit` entries, newest first, those with an id below `before` if that is given."""
        query = select(AuditEntry.id, AuditEntry.at, AuditEntry.actor, AuditEntry.action, AuditEntry.detail)
        if before is not None:
            query = query.where(AuditEntry.id < before)
        with self._database.reading() as connection:
            rows = connection.execute(query.order_by(AuditEntry.id.desc()).limit(limit))
            return [dict(row) for row in rows.mappings()]
