"""An operator's pushes: to some devices or a growing share of all, stopped by what phones report, and rolled back."""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Connection,
    and_,
    case,
    exists,
    false,
    func,
    insert,
    not_,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.orm import aliased

from mnet.export.format.errors import Reason
from mnet.toolchain.cloud import audit
from mnet.toolchain.cloud.database import Database
from mnet.toolchain.cloud.ledger import locked_devices
from mnet.toolchain.cloud.queries import RUNNING, stands
from mnet.toolchain.cloud.scope import Scope, SharedPack, due_packs, in_scope, place, some, version_for_all
from mnet.toolchain.cloud.tables import Device, IssuedRelease, Rollout
from mnet.toolchain.cloud.wilson import share_at_least

STOPPED, ROLLED_BACK = "stopped", "rolled back"
TAKEN = "taken"
REFUSING_AT_LEAST = 3  # devices: one or two may be broken by themselves
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
_PAUSE_S = 0.001


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

    def start(
        self,
        devices: Sequence[str] | None,
        percent: float,
        stop_above: float,
        *,
        cohort: str | None = None,
        pack: SharedPack | None = None,
    ) -> Stage:
        """Ask for new weights for `percent` of these devices, of a cohort, or of all: from the last context of each
        that has one or, with a `pack`, that one for each that runs its bundle.

        A device that is owed something already, as for an upload, keeps that, and its version. The roll-out stops by
        itself when surely more than `stop_above` (a share) of the phones refuse it. Raises LookupError, and does
        nothing, if one of `devices` never uploaded a context, or does not run the pack's bundle.
        """
        chosen = list(dict.fromkeys(devices)) if devices is not None else None
        scope = Scope(chosen, cohort, pack and pack.bundle)
        with self._database.writing() as connection:
            known = in_scope(connection, scope)
            if missing := sorted(set(chosen or ()) - set(known)):
                lack = (
                    "no context was ever uploaded by" if pack is None else "the pack's bundle is not run by"
                )
                raise LookupError(f"{lack} {', '.join(missing[:10])}")
            values: dict[str, Any] = {"percent": percent, "stop_above": stop_above, "state": RUNNING}
            values |= {"devices": chosen, "cohort": cohort}
            if pack is not None:
                version = version_for_all(connection, pack.bundle)
                values |= {"pack": pack.sha256, "bundle": pack.bundle, "version": version}
            rollout = connection.scalar(insert(Rollout).values(**values).returning(Rollout.id))
            assert rollout is not None
            audit.note(
                connection,
                "operator",
                "pushed",
                rollout=rollout,
                devices="all" if chosen is None else len(chosen),
                percent=percent,
                **{name: values[name] for name in ("cohort", "pack") if values.get(name)},
            )
        return self._ask(rollout, (device for device in known if place(rollout, device) < percent))

    def extend(self, rollout: int, percent: float) -> Stage:
        """Ask for the devices between the share reached and `percent`; Conflict unless it is running."""
        with self._database.writing() as connection:
            found = _locked(connection, rollout)
            if found.state != RUNNING:
                raise Conflict(f"roll-out {rollout} is {found.state}")
            connection.execute(
                update(Rollout).where(Rollout.id == rollout).values(percent=max(percent, found.percent))
            )
            known = in_scope(connection, Scope(found.devices, found.cohort, found.bundle))
            audit.note(connection, "operator", "extended", rollout=rollout, percent=percent)
        due = (device for device in known if found.percent <= place(rollout, device) < percent)
        return self._ask(rollout, due)

    def reach(self, devices: Sequence[str]) -> dict[str, int]:
        """Ask for the newest pack that was pushed to everyone or to their cohort, for devices that are new there.

        Returns the version that each device reached by it will get.
        """
        with self._database.reading() as connection:
            due = due_packs(connection, devices)
        by_rollout: dict[int, list[str]] = {}
        for device, rollout in {
            device: rollout for device, rollout, percent in reversed(due) if place(rollout, device) < percent
        }.items():
            by_rollout.setdefault(rollout, []).append(device)
        versions: dict[str, int] = {}
        for rollout, reached in by_rollout.items():
            versions |= self._ask(rollout, sorted(reached)).versions
        return versions

    def roll_back(self, rollout: int) -> Stage:
        """Give each device whose newest weights this brought the ones before them, as a new version.

        Devices with newer weights, e.g. from a later context, are not touched; what is not released yet never is. A
        call that was interrupted resumes when it is repeated.
        """
        with self._database.writing() as connection:
            _locked(connection, rollout)
            connection.execute(update(Rollout).where(Rollout.id == rollout).values(state=ROLLED_BACK))
            _cancel(connection, rollout)
            reached = select(IssuedRelease.device).where(IssuedRelease.rollout == rollout).distinct()
            devices = list(connection.scalars(reached.order_by(IssuedRelease.device)))
            audit.note(connection, "operator", "rolled back", rollout=rollout, devices=len(devices))
        versions: dict[str, int] = {}
        for each in some(devices):
            with self._turn() as connection:
                versions |= _restore(connection, rollout, each)
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
        with self._database.writing() as connection:
            rollout = connection.scalar(reported)
        if rollout is None or outcome not in BLAMED:
            return None
        # A transaction of its own: with the release still locked, it would deadlock with an erasure.
        with self._database.writing() as connection:
            return rollout if _stop_if_bad(connection, rollout) else None

    def _ask(self, rollout: int, devices: Iterable[str]) -> Stage:
        """Raise the version of these devices, sorted by id, for as long as the roll-out is running."""
        versions: dict[str, int] = {}
        for each in some(devices):
            with self._turn() as connection:
                found = _locked(connection, rollout)
                if found.state != RUNNING:
                    break
                versions |= _ask(connection, rollout, each, found.version)
        return Stage(rollout, versions)

    @contextmanager
    def _turn(self) -> Iterator[Connection]:
        """A transaction of a long row of them, before which others have theirs."""
        time.sleep(_PAUSE_S)
        with self._database.writing() as connection:
            yield connection


def _locked(connection: Connection, rollout: int) -> Any:
    of = Rollout
    columns = of.percent, of.stop_above, of.state, of.devices, of.cohort, of.bundle, of.version
    row = connection.execute(
        select(*columns).where(Rollout.id == rollout).with_for_update(key_share=True)
    ).one_or_none()
    if row is None:
        raise LookupError(f"there is no roll-out {rollout}")
    return row


def _ask(connection: Connection, rollout: int, devices: Sequence[str], least: int | None) -> dict[str, int]:
    """Raise the version of those of these devices that are owed nothing, to `least` where that is higher.

    Returns the version that each is due.
    """
    next_version = Device.version + 1
    version = next_version if least is None else case((next_version < least, least), else_=next_version)
    locked = locked_devices(connection, devices)
    free = or_(Device.pending == false(), Device.rollout.is_not(None))
    asked = (
        update(Device)
        .where(Device.id.in_(list(locked)), free)
        .values(version=version, pending=True, wanted_at=time.time(), restores=None, rollout=rollout)
        .returning(Device.id, Device.version)
    )
    versions = {device: version for device, (version, _) in locked.items()}
    return versions | dict(connection.execute(asked).tuples().all())


def _restore(connection: Connection, rollout: int, devices: Sequence[str]) -> dict[str, int]:
    """Ask for the weights before, for those of these devices whose newest weights are from this roll-out."""
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
    has = exists().where(last.device == Device.id, last.rollout == rollout, last.version == newest)
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


def _cancel(connection: Connection, rollout: int) -> None:
    """What the roll-out asked for and was not released yet is not wanted any more."""
    waiting = select(Device.id).where(Device.rollout == rollout, Device.pending == true())
    connection.execute(waiting.order_by(Device.id).with_for_update(key_share=True))
    connection.execute(
        update(Device).where(Device.rollout == rollout, Device.pending == true()).values(pending=False)
    )


def _stop_if_bad(connection: Connection, rollout: int) -> bool:
    found = _locked(connection, rollout)
    blamed = case((IssuedRelease.outcome.in_(BLAMED), IssuedRelease.device))
    heard = select(func.count(IssuedRelease.device.distinct()), func.count(blamed.distinct()))
    # One statement: a report or an erasure between two would have more refuse than report.
    reported, refused = connection.execute(
        heard.where(IssuedRelease.rollout == rollout, IssuedRelease.outcome.is_not(None))
    ).one()
    if found.state != RUNNING or refused < REFUSING_AT_LEAST:
        return False
    if share_at_least(refused, reported) <= found.stop_above:
        return False
    connection.execute(update(Rollout).where(Rollout.id == rollout).values(state=STOPPED))
    _cancel(connection, rollout)
    audit.note(connection, "server", "stopped", rollout=rollout, refused=refused, reported=reported)
    return True
