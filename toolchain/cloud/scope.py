"""Which devices a roll-out is for: those of a list, of a cohort, or all; and which pack a newcomer is due."""

import hashlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, Select, and_, func, or_, select

from mnet.toolchain.cloud.queries import RUNNING
from mnet.toolchain.cloud.tables import Context, Device, Installation, IssuedRelease, Rollout

AT_ONCE = 500  # devices in one transaction: uploads wait for no more


class SharedPack(NamedTuple):
    """A pack to push as it is, by its SHA-256, and the bundle that it is for."""

    sha256: str
    bundle: str


class Scope(NamedTuple):
    """`devices` is None for all of `cohort`, and that for all; with a `bundle`, those that run it, whatever they sent.

    Without one, those that have uploaded a context.
    """

    devices: Sequence[str] | None = None
    cohort: str | None = None
    bundle: str | None = None


def in_scope(connection: Connection, scope: Scope, after: str, limit: int) -> tuple[list[str], str | None]:
    """Devices in scope with an id above `after`, sorted, and the last id looked at; None where there are no more.

    Of some `limit` devices at most.
    """
    query = _devices(scope).order_by(Device.id)
    if scope.devices is None:
        found = list(connection.scalars(query.where(Device.id > after).limit(limit)))
        return found, found[-1] if found else None
    listed = sorted(scope.devices)
    chosen = listed[(start := bisect_right(listed, after)) : start + limit]
    return list(connection.scalars(query.where(Device.id.in_(chosen)))), chosen[-1] if chosen else None


def lacking(connection: Connection, scope: Scope) -> list[str]:
    """Those of the listed devices that are not in scope, sorted."""
    missing = set(scope.devices or ())
    for chosen in some(sorted(missing)):
        missing -= set(connection.scalars(_devices(scope).where(Device.id.in_(chosen))))
    return sorted(missing)


def reach(connection: Connection, scope: Scope) -> dict[str, int]:
    """How many devices in scope run each bundle."""
    chosen = _devices(scope).subquery()
    query = select(Installation.bundle, func.count()).join(chosen, chosen.c.id == Installation.device)
    if scope.bundle is not None:
        query = query.where(Installation.bundle == scope.bundle)
    if scope.devices is not None:
        query = query.where(Installation.device.in_(scope.devices))
    return dict(connection.execute(query.group_by(Installation.bundle)).tuples().all())


def count(connection: Connection, scope: Scope) -> int:
    """How many devices are in scope."""
    query = _devices(scope)
    if scope.devices is not None:
        query = query.where(Device.id.in_(scope.devices))
    return connection.scalar(select(func.count()).select_from(query.subquery())) or 0


def _devices(scope: Scope) -> Select[str]:
    """The devices in scope, but for the list."""
    query = select(Device.id)
    if scope.bundle is None:
        query = query.join(Context, Context.device == Device.id)
    else:
        query = query.join(Installation, Installation.device == Device.id)
        query = query.where(Installation.bundle == scope.bundle)
    return query if scope.cohort is None else query.where(Device.cohort == scope.cohort)


def version_for_all(connection: Connection, bundle: str) -> int:
    """A version above that of every device that runs the bundle, so that one pack of it serves them all."""
    query = select(func.max(Device.version)).join(Installation, Installation.device == Device.id)
    return (connection.scalar(query.where(Installation.bundle == bundle)) or 0) + 1


def due_packs(connection: Connection, devices: Sequence[str]) -> list[tuple[str, int, float]]:
    """Device, roll-out and percent of it, for those of these devices that a running push of a pack should have reached.

    That is, to everyone or to their cohort, of a bundle that they run, and newer than all that they were given; newest
    first. Those chosen by a list stay as they were chosen.
    """
    pack_was_given = (
        select(IssuedRelease.id)
        .where(
            IssuedRelease.device == Device.id,
            or_(IssuedRelease.rollout >= Rollout.id, IssuedRelease.held_out >= Rollout.id),
        )
        .correlate(Device, Rollout)
        .exists()
    )
    is_awaited = and_(Device.pending, Device.rollout.is_not(None), Device.rollout >= Rollout.id)
    query = (
        select(Device.id, Rollout.id, Rollout.percent)
        .join(Installation, Installation.device == Device.id)
        .join(
            Rollout,
            and_(
                Rollout.bundle == Installation.bundle,
                Rollout.state == RUNNING,
                Rollout.devices.is_(None),
                or_(Rollout.cohort.is_(None), Rollout.cohort == Device.cohort),
            ),
        )
        .where(Rollout.pack.is_not(None), ~pack_was_given, ~is_awaited)
        .order_by(Device.id, Rollout.id.desc())
    )
    return [
        (device, rollout, percent)
        for chosen in some(sorted(devices))
        for device, rollout, percent in connection.execute(query.where(Device.id.in_(chosen)))
    ]


def place(order: int | str, device: str) -> float:
    """Where a device stands in an order, as that of a roll-out, 0 to 100: in each elsewhere, so that it is not always
    the same first.
    """
    digest = hashlib.sha256(f"{order}:{device}".encode()).digest()
    return int.from_bytes(digest[:4]) / 2**32 * 100


def some(devices: Iterable[str]) -> Iterator[list[str]]:
    """These devices, AT_ONCE at a time."""
    part: list[str] = []
    for device in devices:
        part.append(device)
        if len(part) == AT_ONCE:
            yield part
            part = []
    if part:
        yield part
