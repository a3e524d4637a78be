"""An operator's pushes: to some devices or a growing share of all, stopped by what phones report, and rolled back."""

import hashlib
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, exists, func, insert, select, update
from sqlalchemy.orm import aliased

from export.errors import Reason
from toolchain.cloud import audit
from toolchain.cloud.database import Database
from toolchain.cloud.statements import STOPPED
from toolchain.cloud.tables import Context, Device, IssuedRelease, Rollout

RUNNING, ROLLED_BACK = "running", "rolled back"
TAKEN = "taken"
# What a phone refuses for these reasons is bad for every phone; the rest happens on the way, as a cut or a wrong clock.
BLAMED = (
    Reason.WRONG_BUNDLE,
    Reason.MALFORMED,
    Reason.MISSING_TENSOR,
    Reason.EXTRA_TENSOR,
    Reason.WRONG_SHAPE,
    Reason.WRONG_DTYPE,
    Reason.NOT_FINITE,
    Reason.SELF_TEST_FAILED,
)
_AT_ONCE = 10_000  # a statement takes only so many parameters


@dataclass(frozen=True)
class Stage:
    """What one call asked for: the version that each device of it will get."""

    rollout: int
    versions: dict[str, int]


class Conflict(Exception):
    """The roll-out is not in a state for this."""


class Rollouts:
    """The roll-outs of one database. Every method that names one raises LookupError if there is none."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def start(self, devices: Sequence[str] | None, percent: float, stop_above: float) -> Stage:
        """Ask for new weights, from the last context, for `percent` of these devices or of all that have one.

        It stops by itself when more than `stop_above` (a share) of what it released is refused. Raises LookupError,
        and does nothing, if one of `devices` never uploaded a context.
        """
        with self._database.writing() as connection:
            chosen = list(dict.fromkeys(devices)) if devices is not None else None
            values = {"devices": chosen, "percent": percent, "stop_above": stop_above, "state": RUNNING}
            rollout = connection.scalar(insert(Rollout).values(**values).returning(Rollout.id))
            assert rollout is not None
            known = _with_context(connection, chosen)
            if missing := sorted(set(chosen or ()) - set(known)):
                raise LookupError(f"no context was ever uploaded by {', '.join(missing[:10])}")
            versions = _ask(connection, rollout, (d for d in known if _place(rollout, d) < percent))
            scope = "all" if chosen is None else len(chosen)
            audit.note(connection, "operator", "pushed", rollout=rollout, devices=scope, percent=percent)
        return Stage(rollout, versions)

    def extend(self, rollout: int, percent: float) -> Stage:
        """Ask for the devices between the share reached and `percent`; Conflict unless it is running."""
        with self._database.writing() as connection:
            found = _locked(connection, rollout)
            if found.state != RUNNING:
                raise Conflict(f"roll-out {rollout} is {found.state}")
            connection.execute(
                update(Rollout).where(Rollout.id == rollout).values(percent=max(percent, found.percent))
            )
            due = (
                device
                for device in _with_context(connection, found.devices)
                if found.percent <= _place(rollout, device) < percent
            )
            versions = _ask(connection, rollout, due)
            audit.note(connection, "operator", "extended", rollout=rollout, percent=percent)
        return Stage(rollout, versions)

    def roll_back(self, rollout: int) -> Stage:
        """Give each device whose newest weights this brought the ones before them, as a new version.

        Devices with newer weights, as from a later context, are left alone; what is not released yet never is.
        """
        with self._database.writing() as connection:
            _locked(connection, rollout)
            versions = _restore(connection, rollout)
            _cancel(connection, rollout)
            connection.execute(update(Rollout).where(Rollout.id == rollout).values(state=ROLLED_BACK))
            audit.note(connection, "operator", "rolled back", rollout=rollout, devices=len(versions))
        return Stage(rollout, versions)

    def status(self, rollout: int) -> dict[str, Any]:
        """Its settings and state, how many releases it made, and how many of each outcome were reported."""
        with self._database.reading() as connection:
            columns = Rollout.id, Rollout.percent, Rollout.stop_above, Rollout.state, Rollout.started_at
            row = connection.execute(select(*columns).where(Rollout.id == rollout)).mappings().one_or_none()
            if row is None:
                raise LookupError(f"there is no roll-out {rollout}")
            counts = dict(
                connection.execute(
                    select(func.coalesce(IssuedRelease.outcome, "not reported"), func.count())
                    .where(IssuedRelease.rollout == rollout)
                    .group_by(IssuedRelease.outcome)
                )
                .tuples()
                .all()
            )
        return {**row, "released": sum(counts.values()), "outcomes": counts}

    def report(self, device: str, bundle: str, version: int, outcome: str) -> int | None:
        """Note what became of a release on its device; returns the roll-out if that stops it."""
        with self._database.writing() as connection:
            reported = (
                update(IssuedRelease)
                .where(
                    IssuedRelease.device == device,
                    IssuedRelease.bundle == bundle,
                    IssuedRelease.version == version,
                )
                .values(outcome=outcome)
                .returning(IssuedRelease.rollout)
            )
            rollout = connection.scalar(reported)
            if rollout is None or outcome not in BLAMED:
                return None
            return rollout if _stop_if_bad(connection, rollout) else None


def _place(rollout: int, device: str) -> float:
    """Where a device stands in a roll-out, 0 to 100: in each another order, so that it is not always the same first."""
    digest = hashlib.sha256(f"{rollout}:{device}".encode()).digest()
    return int.from_bytes(digest[:4]) / 2**32 * 100


def _some(devices: Iterable[str]) -> Iterator[list[str]]:
    some: list[str] = []
    for device in devices:
        some.append(device)
        if len(some) == _AT_ONCE:
            yield some
            some = []
    if some:
        yield some


def _locked(connection: Connection, rollout: int) -> Any:
    columns = Rollout.percent, Rollout.stop_above, Rollout.state, Rollout.devices
    row = connection.execute(
        select(*columns).where(Rollout.id == rollout).with_for_update(key_share=True)
    ).one_or_none()
    if row is None:
        raise LookupError(f"there is no roll-out {rollout}")
    return row


def _with_context(connection: Connection, devices: Sequence[str] | None) -> list[str]:
    """Those of these devices, or all, that have uploaded a context, sorted."""
    if devices is None:
        return list(connection.scalars(select(Context.device).order_by(Context.device)))
    found: list[str] = []
    for some in _some(sorted(devices)):
        found += connection.scalars(select(Context.device).where(Context.device.in_(some)))
    return sorted(found)


def _ask(connection: Connection, rollout: int, devices: Iterable[str]) -> dict[str, int]:
    """Raise the version of these devices, sorted by id, and return it."""
    versions: dict[str, int] = {}
    for some in _some(devices):
        # Locked in order: two pushes at once wait for each other, and not in a circle.
        connection.execute(
            select(Device.id).where(Device.id.in_(some)).order_by(Device.id).with_for_update(key_share=True)
        )
        asked = (
            update(Device)
            .where(Device.id.in_(some))
            .values(
                version=Device.version + 1,
                pending=True,
                wanted_at=time.time(),
                restores=None,
                rollout=rollout,
            )
            .returning(Device.id, Device.version)
        )
        versions.update(connection.execute(asked).tuples().all())
    return versions


def _restore(connection: Connection, rollout: int) -> dict[str, int]:
    """Ask for the weights before the last ones, for the devices that have those from this roll-out."""
    before, last = aliased(IssuedRelease), aliased(IssuedRelease)
    previous = (
        select(func.coalesce(func.max(before.version), 0))
        .where(before.device == Device.id, before.version < Device.version, before.jws.is_not(None))
        .scalar_subquery()
    )
    connection.execute(
        select(Device.id).where(Device.rollout == rollout).order_by(Device.id).with_for_update(key_share=True)
    )
    asked = (
        update(Device)
        .where(
            Device.rollout == rollout,
            exists().where(last.device == Device.id, last.version == Device.version),
        )
        .values(
            restores=previous, version=Device.version + 1, pending=True, wanted_at=time.time(), rollout=None
        )
        .returning(Device.id, Device.version)
    )
    return dict(connection.execute(asked).tuples().all())


def _cancel(connection: Connection, rollout: int) -> None:
    """What the roll-out asked for and was not released yet is not wanted any more."""
    connection.execute(update(Device).where(Device.rollout == rollout).values(pending=False))


def _stop_if_bad(connection: Connection, rollout: int) -> bool:
    found = _locked(connection, rollout)
    of = select(func.count()).select_from(IssuedRelease).where(IssuedRelease.rollout == rollout)
    released = connection.scalar(of) or 0
    refused = connection.scalar(of.where(IssuedRelease.outcome.in_(BLAMED))) or 0
    if found.state != RUNNING or refused <= found.stop_above * released:
        return False
    connection.execute(update(Rollout).where(Rollout.id == rollout).values(state=STOPPED))
    _cancel(connection, rollout)
    audit.note(connection, "server", "stopped", rollout=rollout, refused=refused, released=released)
    return True
