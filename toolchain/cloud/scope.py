"""Which devices a roll-out is for: those of a list, of a cohort, or all; and which pack a newcomer is due."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, and_, func, or_, select

from mnet.toolchain.cloud.queries import RUNNING
from mnet.toolchain.cloud.tables import Context, Device, Installation, IssuedRelease, Rollout

AT_ONCE = 1000  # devices in one transaction: uploads wait for no more


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


def in_scope(connection: Connection, scope: Scope) -> list[str]:
    """The devices in scope, sorted."""
    if scope.bundle is None:
        query = select(Context.device).join(Device, Device.id == Context.device)
    else:
        query = select(Device.id).join(Installation, Installation.device == Device.id)
        query = query.where(Installation.bundle == scope.bundle)
    if scope.cohort is not None:
        query = query.where(Device.cohort == scope.cohort)
    if scope.devices is None:
        return list(connection.scalars(query.order_by(Device.id)))
    found: list[str] = []
    for chosen in some(sorted(scope.devices)):
        found += connection.scalars(query.where(Device.id.in_(chosen)))
    return sorted(found)


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
        .where(IssuedRelease.device == Device.id, IssuedRelease.rollout >= Rollout.id)
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


def place(rollout: int, device: str) -> float:
    """Where a device stands in a roll-out, 0 to 100: in each another order, so that it is not always the same first."""
    digest = hashlib.sha256(f"{rollout}:{device}".encode()).digest()
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
