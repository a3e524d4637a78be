"""What an operator on call wants to see of a fleet, counted in the database."""

import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, case, func, or_, select, true

from mnet.toolchain.cloud.advance import ROLLED_BACK, ROLLING_BACK, STOPPED
from mnet.toolchain.cloud.database import Database
from mnet.toolchain.cloud.queries import RUNNING, owed
from mnet.toolchain.cloud.rollouts import TAKEN, Rollouts
from mnet.toolchain.cloud.tables import Context, Device, IssuedRelease, Rollout

STALE_S = 24 * 3600.0  # without its newest weights
HOUR_S = 3600.0
STATES = (RUNNING, STOPPED, ROLLING_BACK, ROLLED_BACK)
VERSIONS, ROLLOUTS = 10, 20  # shown at most
_NOT_TAKEN = or_(IssuedRelease.outcome.is_(None), IssuedRelease.outcome != TAKEN)


@dataclass(frozen=True)
class Fleet:
    """Counts of devices, unless it says otherwise.

    Attributes:
        waiting: those whose next release is still to be made.
        failing: those of whose last context no weights came.
        stale: those that for a day have not taken the newest release that they were given.
        contexts: that are kept; `uploads` of them came within the last hour.
        versions: bundle, version, devices, and what they reported of it: the most frequent.
        rollouts: the newest, each as of `Rollouts.status`.
    """

    devices: int
    waiting: int
    failing: int
    stale: int
    contexts: int
    uploads: int
    versions: list[dict[str, Any]]
    rollouts: list[dict[str, Any]]


def look(database: Database, rollouts: Rollouts) -> Fleet:
    """Count, as of now."""
    now = time.time()
    with database.reading() as connection:
        devices, waiting, failing = connection.execute(
            select(
                func.count(),
                func.count(case((Device.pending == true(), 1))),
                func.count(case((Device.failures > 0, 1))),
            ).select_from(Device)
        ).one()
        contexts, uploads = connection.execute(
            select(func.count(), func.count(case((Context.uploaded_at > now - HOUR_S, 1)))).select_from(
                Context
            )
        ).one()
        versions = _versions(connection)
        stale = connection.scalar(_stale(now)) or 0
        newest = list(connection.scalars(select(Rollout.id).order_by(Rollout.id.desc()).limit(ROLLOUTS)))
    statuses = [rollouts.status(rollout) for rollout in newest]
    return Fleet(devices, waiting, failing, stale, contexts, uploads, versions, statuses)


def objectives(database: Database) -> tuple[dict[str, float], dict[str, int]]:
    """What is to be kept low, by the names of `Metrics.counted`, and the number of roll-outs in each state; as of now.

    Reads a row of every device: some seconds for ten million.
    """
    now, of = time.time(), IssuedRelease
    waiting = select(func.min(Device.wanted_at)).where(Device.pending == true(), Device.failures == 0)
    with database.reading() as connection:
        devices, failing = connection.execute(
            select(func.count(), func.count(case((Device.failures > 0, 1)))).select_from(Device)
        ).one()
        stale, undelivered, expired = connection.execute(
            select(
                func.count(case((and_(_NOT_TAKEN, of.issued_at < now - STALE_S), of.device)).distinct()),
                func.count(case((and_(~of.fetched, of.issued_at < now - HOUR_S), 1))),
                func.count(case((and_(~of.fetched, of.expires_at < now), 1))),
            ).join(Device, _newest())
        ).one()
        since = connection.scalar(waiting.where(owed()))
        counts = dict(
            connection.execute(select(Rollout.state, func.count()).group_by(Rollout.state)).tuples().all()
        )
    figures = {
        "devices": devices,
        "failing_devices": failing,
        "stale_devices": stale,
        "undelivered_releases": undelivered,
        "expired_releases": expired,
        "oldest_wait_seconds": 0.0 if since is None else max(0.0, now - since),
    }
    return figures, {state: counts.get(state, 0) for state in STATES}


def _newest() -> Any:
    """The join of each device with the release of its version."""
    of = IssuedRelease
    return and_(of.device == Device.id, of.version == Device.version, of.jws.is_not(None))


def _versions(connection: Connection) -> list[dict[str, Any]]:
    of = IssuedRelease
    count = func.count().label("devices")
    query = (
        select(of.bundle, of.version, func.coalesce(of.outcome, "not reported").label("outcome"), count)
        .join(Device, _newest())
        .group_by(of.bundle, of.version, of.outcome)
        .order_by(count.desc(), of.version.desc())
        .limit(VERSIONS)
    )
    return [dict(row) for row in connection.execute(query).mappings()]


def _stale(now: float) -> Any:
    of = IssuedRelease
    late = select(func.count(of.device.distinct())).join(Device, _newest())
    return late.where(_NOT_TAKEN, of.issued_at < now - STALE_S)
