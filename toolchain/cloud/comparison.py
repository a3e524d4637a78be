"""What a roll-out did for its users: the devices that got it against those that were held out of it."""

import logging
from dataclasses import dataclass

import numpy as np
from sqlalchemy import ColumnElement, case, func, or_, select

from mnet.toolchain.cloud.advance import locked, stop
from mnet.toolchain.cloud.confidence_sequence import Difference, Means, difference
from mnet.toolchain.cloud.database import Database
from mnet.toolchain.cloud.queries import RUNNING
from mnet.toolchain.cloud.tables import Device, IssuedRelease, Measurement, Rollout

_COMPARED = 20  # that are compared, those of the most devices: anybody may invent more

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Group:
    """Devices that measured: how many, the mean of their means, and of all their values the number and the deviation
    within a device.
    """

    devices: int
    mean: float | None
    values: int
    within: float | None


@dataclass(frozen=True)
class Comparison:
    """A metric of a roll-out; `difference` is treated less held out, None where a group is empty."""

    metric: str
    treated: Group
    held_out: Group
    difference: Difference | None


class Comparisons:
    """The comparisons of one database.

    A device counts once, by the mean of its values: devices were drawn at random, values were not. It counts if it
    fetched the release and was enrolled before the roll-out began, and with its first release of it only.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._judged: dict[int, float] = {}  # when what each was last judged by was measured

    def compare(self, rollout: int, metric: str | None = None) -> list[Comparison]:
        """One metric of a roll-out, or all that devices measured. Raises LookupError if there is no such roll-out."""
        with self._database.reading() as connection:
            started_at = connection.scalar(select(Rollout.started_at).where(Rollout.id == rollout))
        if started_at is None:
            raise LookupError(f"there is no roll-out {rollout}")
        named = [metric] if metric is not None else self._metrics(rollout)
        return [self._compared(rollout, started_at, each) for each in named]

    def stop_worse(self) -> None:
        """Stop each roll-out whose metric is surely worse than its operator allows."""
        of = Rollout
        query = select(of.id, of.metric, of.stop_below).where(of.state == RUNNING, of.stop_below.is_not(None))
        with self._database.reading() as connection:
            watched = connection.execute(query).tuples().all()
        for rollout, metric, stop_below in watched:
            if metric is None or stop_below is None or not (newest := self._newest(metric)):
                continue
            if self._judged.get(rollout) == newest:
                continue
            self._judged[rollout] = newest
            (found,) = self.compare(rollout, metric)
            seen = found.difference
            if seen is not None and seen.interval is not None and seen.interval[1] < stop_below:
                self._stop(rollout, metric, seen.interval[1])

    def _stop(self, rollout: int, metric: str, at_most: float) -> None:
        with self._database.writing() as connection:
            if locked(connection, rollout).state == RUNNING:
                stop(connection, rollout, "server", metric=metric, difference_at_most=at_most)
                log.warning("roll-out %d is stopped: %s differs by %g at most", rollout, metric, at_most)

    def _newest(self, metric: str) -> float:
        """When a metric was last reported, Unix seconds; 0 for never."""
        query = select(func.max(Measurement.reported_at)).where(Measurement.metric == metric)
        with self._database.reading() as connection:
            return connection.scalar(query) or 0.0

    def _metrics(self, rollout: int) -> list[str]:
        devices = func.count(Measurement.device.distinct())
        query = select(Measurement.metric).join(IssuedRelease, _MEASURED).where(_of(rollout))
        query = query.group_by(Measurement.metric).order_by(devices.desc(), Measurement.metric)
        with self._database.reading() as connection:
            return list(connection.scalars(query.limit(_COMPARED)))

    def _compared(self, rollout: int, started_at: float, metric: str) -> Comparison:
        of = Measurement
        held = case((IssuedRelease.held_out == rollout, 1), else_=0)
        query = (
            select(of.device, of.version, held, func.sum(of.count), func.sum(of.sum), func.sum(of.squares))
            .join(IssuedRelease, _MEASURED)
            .join(Device, Device.id == of.device)
            .where(_of(rollout), IssuedRelease.fetched, Device.enrolled_at <= started_at, of.metric == metric)
            .group_by(of.device, of.version, held)
            .order_by(of.device, of.version.desc())
        )
        with self._database.reading() as connection:
            first = {row[0]: row[2:] for row in connection.execute(query)}
        treated = np.array([row[1:] for row in first.values() if not row[0]], dtype=np.float64).reshape(-1, 3)
        held_out = np.array([row[1:] for row in first.values() if row[0]], dtype=np.float64).reshape(-1, 3)
        both = len(treated) > 0 and len(held_out) > 0
        found = difference(_means(treated), _means(held_out)) if both else None
        return Comparison(metric, _group(treated), _group(held_out), found)


_MEASURED = (
    (IssuedRelease.device == Measurement.device)
    & (IssuedRelease.bundle == Measurement.bundle)
    & (IssuedRelease.version == Measurement.version)
)


def _of(rollout: int) -> ColumnElement[bool]:
    """Whether a release is of a roll-out, or instead of it."""
    brought = (IssuedRelease.rollout == rollout) & IssuedRelease.held_out.is_(None)
    return or_(brought, IssuedRelease.held_out == rollout)


def _means(totals: Means) -> Means:
    return totals[:, 1] / totals[:, 0]


def _group(totals: Means) -> Group:
    """From count, sum and sum of squares [devices, 3]."""
    if not len(totals):
        return Group(0, None, 0, None)
    count, total, squares = totals.T
    within = max(0.0, float((squares - total**2 / count).sum()))
    values = int(count.sum())
    freedom = values - len(totals)
    return Group(
        len(totals), float(_means(totals).mean()), values, (within / freedom) ** 0.5 if freedom else None
    )
