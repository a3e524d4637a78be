"""From what operators want of the fleet to what each device is asked for, some devices a turn.

A roll-out's row says which share of its devices is to be reached, and how far that is done. Each turn is one
transaction that asks for some devices and moves the row on, so that whoever takes the next turn, on this replica or
another, after a kill too, resumes where the last one ended.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    case,
    exists,
    false,
    func,
    not_,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.orm import aliased

from mnet.toolchain.cloud import audit
from mnet.toolchain.cloud.database import Database
from mnet.toolchain.cloud.experiment import held_out
from mnet.toolchain.cloud.locks import locked_devices
from mnet.toolchain.cloud.queries import RUNNING, stands
from mnet.toolchain.cloud.scope import AT_ONCE, Scope, in_scope, place
from mnet.toolchain.cloud.tables import Device, IssuedRelease, Rollout

STOPPED, ROLLING_BACK, ROLLED_BACK = "stopped", "rolling back", "rolled back"
_LOOKED_AT = 5000  # devices in one turn, most of which a small share leaves out
_UNFINISHED = (
    select(Rollout.id)
    .where(
        or_(
            and_(Rollout.state == RUNNING, Rollout.asked < Rollout.percent),
            Rollout.state == ROLLING_BACK,
        )
    )
    .order_by(Rollout.id)
)
_COLUMNS = (
    Rollout.id,
    Rollout.percent,
    Rollout.asked,
    Rollout.cursor,
    Rollout.stop_above,
    Rollout.state,
    Rollout.devices,
    Rollout.cohort,
    Rollout.bundle,
    Rollout.version,
    Rollout.proposed,
    Rollout.proposed_by,
    Rollout.started_at,
    Rollout.hold_out,
    Rollout.held_on,
)


@dataclass(frozen=True)
class Stage:
    """What one turn asked for: the version that each device of it will get."""

    rollout: int
    versions: dict[str, int]


def unfinished(database: Database) -> list[int]:
    """The roll-outs that have devices still to be asked for, oldest first."""
    with database.reading() as connection:
        return list(connection.scalars(_UNFINISHED))


def advance(database: Database, rollout: int) -> Stage:
    """Ask for the next devices of a roll-out that is unfinished."""
    with database.reading() as connection:
        found = connection.execute(select(*_COLUMNS).where(Rollout.id == rollout)).one()
        scope = Scope(found.devices, found.cohort, found.bundle)
        after = found.cursor or ""
        if found.state == RUNNING:
            devices, last = in_scope(connection, scope, after, _LOOKED_AT)
            due = [each for each in devices if found.asked <= place(rollout, each) < found.percent]
        else:
            due = _given(connection, found, after)
            last = due[-1] if due else None
    if len(due) > AT_ONCE:
        due = due[:AT_ONCE]
        last = due[-1]
    with database.writing() as connection:
        if locked(connection, rollout) != found:
            return Stage(rollout, {})  # another replica had this turn, or an operator changed what is wanted
        back = found.state == ROLLING_BACK
        versions = _restore(connection, found, due) if back else ask(connection, found, due)
        _note(connection, found, last, len(versions))
    return Stage(rollout, versions)


def _note(connection: Connection, found: Any, last: str | None, asked: int) -> None:
    """Keep how far a turn came; without a `last` device it was the end of the way."""
    values: dict[str, Any] = {"cursor": last}
    if found.state == RUNNING:
        values["reached"] = Rollout.reached + asked
    if last is None and found.state == RUNNING:
        values["asked"] = found.percent
    elif last is None:
        values["state"] = ROLLED_BACK
    connection.execute(update(Rollout).where(Rollout.id == found.id).values(**values))


def locked(connection: Connection, rollout: int) -> Any:
    """The row of a roll-out, which nobody else changes until the transaction ends. Raises LookupError."""
    query = select(*_COLUMNS).where(Rollout.id == rollout).with_for_update(key_share=True)
    row = connection.execute(query).one_or_none()
    if row is None:
        raise LookupError(f"there is no roll-out {rollout}")
    return row


def ask(connection: Connection, rollout: Any, devices: Sequence[str]) -> dict[str, int]:
    """Raise the version of those of these devices that are owed nothing, to that of the roll-out where it is higher.

    Those that this roll-out, or a later one that is running, has reached are left as they are. `rollout` is its row.
    Returns the version that each is due.
    """
    if not devices:
        return {}
    next_version, least = Device.version + 1, rollout.version
    version = next_version if least is None else case((next_version < least, least), else_=next_version)
    known = list(locked_devices(connection, devices))
    given = aliased(Rollout)
    reached = exists().where(
        IssuedRelease.device == Device.id,
        or_(given.id == IssuedRelease.rollout, given.id == IssuedRelease.held_out),
        given.id >= rollout.id,
        given.state == RUNNING,
    )
    later = aliased(Rollout)
    due = exists().where(later.id == Device.rollout, later.id >= rollout.id, later.state == RUNNING)
    free = or_(Device.pending == false(), Device.rollout.is_not(None))
    held = held_out(rollout.id, rollout.hold_out, known)
    kept = Device.version if rollout.held_on == "previous" else 0
    asked = (
        update(Device)
        .where(Device.id.in_(known), free, ~reached, ~due)
        .values(version=version, pending=True, wanted_at=time.time(), rollout=rollout.id)
        .values(restores=case((Device.id.in_(held), kept)) if held else None)
        .returning(Device.id, Device.version)
    )
    return dict(connection.execute(asked).tuples().all())


def _brought(release: Any, rollout: Any) -> ColumnElement[bool]:
    """Whether a release is of a roll-out (its row), and changed the weights of its device."""
    if rollout.held_on == "previous":
        return release.rollout == rollout.id  # held out, a device has what it had
    return or_(release.rollout == rollout.id, release.held_out == rollout.id)


def _given(connection: Connection, rollout: Any, after: str) -> list[str]:
    """Devices with an id above `after` that have a release of a roll-out (its row), some at a time."""
    query = select(IssuedRelease.device).distinct().where(_brought(IssuedRelease, rollout))
    query = query.where(IssuedRelease.device > after).order_by(IssuedRelease.device).limit(AT_ONCE)
    return list(connection.scalars(query))


def _restore(connection: Connection, rollout: Any, devices: Sequence[str]) -> dict[str, int]:
    """Ask for the weights before, for those of these devices whose newest weights are from this roll-out (its row)."""
    if not devices:
        return {}
    before, last, newer = aliased(IssuedRelease), aliased(IssuedRelease), aliased(IssuedRelease)
    previous = (
        select(func.coalesce(func.max(before.version), 0))
        .where(before.device == Device.id, before.version < Device.version)
        .where(before.jws.is_not(None), stands(before))
        .scalar_subquery()
    )
    newest = (
        select(func.max(newer.version)).where(newer.device == Device.id).correlate(Device).scalar_subquery()
    )
    has = exists().where(last.device == Device.id, _brought(last, rollout), last.version == newest)
    # An upload, or an earlier roll-back, whose release is still to come.
    awaits = and_(Device.pending == true(), Device.rollout.is_(None), Device.version > newest)
    locked_devices(connection, devices)
    asked = (
        update(Device)
        .where(Device.id.in_(devices), has, not_(awaits))
        .values(
            restores=previous, version=Device.version + 1, pending=True, wanted_at=time.time(), rollout=None
        )
        .returning(Device.id, Device.version)
    )
    return dict(connection.execute(asked).tuples().all())


def stop(connection: Connection, rollout: int, actor: audit.Actor, by: str | None = None, **why: Any) -> None:
    """End a running roll-out: nobody more is asked, and what is not fetched is withheld."""
    connection.execute(update(Rollout).where(Rollout.id == rollout).values(state=STOPPED, proposed=None))
    cancel(connection, rollout)
    audit.note(connection, actor, "stopped", by, rollout=rollout, **why)


def cancel(connection: Connection, rollout: int) -> None:
    """What the roll-out asked for and was not released yet is not wanted any more."""
    waiting = select(Device.id).where(Device.rollout == rollout, Device.pending == true())
    connection.execute(waiting.order_by(Device.id).with_for_update(key_share=True))
    connection.execute(
        update(Device).where(Device.rollout == rollout, Device.pending == true()).values(pending=False)
    )
