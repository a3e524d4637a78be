"""Who did what to the fleet, and when; written in the transaction of the act itself.

Each entry holds the hash of the one before it and of its own content, so that one that was changed or deleted is found.
What operators did is kept longer than what devices and servers do by themselves: these are two chains, each of which
loses its oldest entries alone, and keeps the hash of the last that it lost.
"""

import hashlib
import json
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, delete, insert, select, update

from mnet.toolchain.cloud.database import Database
from mnet.toolchain.cloud.tables import AuditChain, AuditEntry

PEOPLE, MACHINES = "people", "machines"
KEPT_S = {PEOPLE: 2 * 365 * 24 * 3600, MACHINES: 90 * 24 * 3600}
_FAULTS = 20  # named at most

Actor = Literal["operator", "device", "server"]


def note(connection: Connection, actor: Actor, action: str, by: str | None = None, **detail: Any) -> None:
    """Add an entry, as the last thing that a transaction does: until its end nobody else adds one.

    `by` is the name of the operator; `detail` names devices and roll-outs, never a secret or a context.
    """
    chain, at, kept = chain_of(actor, action), time.time(), json.loads(json.dumps(detail))
    previous = connection.scalar(select(AuditChain.head).where(AuditChain.name == chain).with_for_update())
    assert previous is not None, "the migrations make both chains"
    new = entry_hash(previous, at, actor, by, action, kept)
    who = {"at": at, "actor": actor, "operator": by, "action": action, "detail": kept}
    connection.execute(insert(AuditEntry).values(**who, chain=chain, previous=previous, hash=new))
    connection.execute(update(AuditChain).where(AuditChain.name == chain).values(head=new))


def chain_of(actor: str, action: str) -> str:
    """For how long an entry is kept: an erasure for as long as what operators did."""
    return PEOPLE if actor == "operator" or action == "erased" else MACHINES


def entry_hash(
    previous: str, at: float, actor: str, operator: str | None, action: str, detail: dict[str, Any]
) -> str:
    """SHA-256, in hex, of an entry and of the hash before it; that is empty for the first one of a chain."""
    content = json.dumps(
        [previous, at, actor, operator, action, detail], sort_keys=True, separators=(",", ":")
    )
    return hashlib.sha256(content.encode()).hexdigest()


def prune(connection: Connection, now: float) -> None:
    """Delete entries over their time, from the oldest on; `now` in Unix seconds."""
    of = AuditEntry
    for chain, kept_s in KEPT_S.items():
        in_chain = select(of.id).where(of.chain == chain)
        kept = connection.scalar(in_chain.where(of.at >= now - kept_s).order_by(of.id).limit(1))
        over = of.chain == chain if kept is None else (of.chain == chain) & (of.id < kept)
        if connection.scalar(select(of.id).where(over).limit(1)) is None:
            continue
        connection.execute(select(AuditChain.head).where(AuditChain.name == chain).with_for_update())
        last = connection.execute(
            select(of.id, of.hash).where(over).order_by(of.id.desc()).limit(1)
        ).one_or_none()
        if last is not None:
            connection.execute(update(AuditChain).where(AuditChain.name == chain).values(pruned=last.hash))
            connection.execute(delete(of).where(of.chain == chain, of.id <= last.id))


@dataclass(frozen=True)
class Checked:
    """How many entries there are, what is wrong with them, and the hash of the newest one of each chain."""

    entries: int
    faults: list[str]
    heads: dict[str, str]


class Audit:
    """The log of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def note(self, actor: Actor, action: str, by: str | None = None, **detail: Any) -> None:
        """Add an entry in a transaction of its own."""
        with self._database.writing() as connection:
            note(connection, actor, action, by, **detail)

    def erased(self, device: str) -> bool:
        """Whether a device was erased."""
        named = AuditEntry.detail["device"].as_string() == device
        query = select(AuditEntry.id).where(AuditEntry.action == "erased", named).limit(1)
        with self._database.reading() as connection:
            return connection.scalar(query) is not None

    def newest(self, limit: int, before: int | None = None) -> list[dict[str, Any]]:
        """Up to `limit` entries, newest first, those with an id below `before` if that is given."""
        of = AuditEntry
        query = select(of.id, of.at, of.actor, of.operator, of.action, of.detail)
        if before is not None:
            query = query.where(of.id < before)
        with self._database.reading() as connection:
            rows = connection.execute(query.order_by(of.id.desc()).limit(limit))
            return [dict(row) for row in rows.mappings()]

    def check(self, noted: Collection[str] = ()) -> Checked:
        """Compute each hash again. `noted` are hashes of the newest entries at earlier checks, which must still exist:
        whoever writes the whole log again can make all of it fit but these.
        """
        entries, faults, heads, missing = 0, list[str](), dict[str, str](), set(noted)
        with self._database.snapshot() as connection:
            for name, head, pruned in connection.execute(
                select(AuditChain.name, AuditChain.head, AuditChain.pruned).order_by(AuditChain.name)
            ).all():
                count, found, seen = _check_chain(connection, name, head, pruned)
                entries += count
                faults += found
                missing -= seen
                heads[name] = head
        faults += [f"no entry has the hash {each}, which was noted before" for each in sorted(missing)]
        return Checked(entries, faults[:_FAULTS], heads)


def _check_chain(
    connection: Connection, name: str, head: str, pruned: str
) -> tuple[int, list[str], set[str]]:
    """How many entries a chain has, what is wrong with it, and all its hashes."""
    of, count, faults = AuditEntry, 0, list[str]()
    expected, seen, before = pruned, {pruned}, "those that were deleted for their age"
    columns = of.id, of.at, of.actor, of.operator, of.action, of.detail, of.previous, of.hash
    query = select(*columns).where(of.chain == name).order_by(of.id)
    for row in connection.execute(query.execution_options(yield_per=1000)):
        if row.previous != expected:
            faults.append(f"entries of {name} between {before} and {row.id} are missing")
        if row.hash != entry_hash(row.previous, row.at, row.actor, row.operator, row.action, row.detail):
            faults.append(f"entry {row.id} was changed")
        expected, before = row.hash, str(row.id)
        seen.add(expected)
        count += 1
    if expected != head:
        faults.append(f"the newest entries of {name}, after {before}, are missing")
    return count, faults, seen
