"""An operator's pushes: to some devices or a growing share of all, stopped by what phones report, and rolled back."""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, case, func, insert, select, true, update

from mnet.export.format.errors import Reason
from mnet.toolchain.cloud import audit
from mnet.toolchain.cloud.advance import (
    ROLLED_BACK,
    ROLLING_BACK,
    Stage,
    advance,
    ask,
    cancel,
    locked,
    stop,
    unfinished,
)
from mnet.toolchain.cloud.approval import AWAITS_APPROVAL, Conflict, approve, share_of_fleet
from mnet.toolchain.cloud.database import Database
from mnet.toolchain.cloud.experiment import Experiment
from mnet.toolchain.cloud.queries import RUNNING
from mnet.toolchain.cloud.scope import (
    Scope,
    SharedPack,
    count,
    due_packs,
    lacking,
    place,
    reach,
    version_for_all,
)
from mnet.toolchain.cloud.tables import Device, IssuedRelease, Rollout
from mnet.toolchain.cloud.wilson import share_at_least

DONE = "done"  # what a running roll-out is called that has nothing left to do
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


@dataclass(frozen=True)
class Reach:
    """What a push would reach: how many devices in all, and how many by the bundle that they run."""

    devices: int
    bundles: dict[str, int]


class Rollouts:
    """The roll-outs of one database. Every method that names one raises LookupError if there is none.

    `by` is the name of the operator, for the audit log.
    """

    def __init__(self, database: Database, second_approval: float | None = None) -> None:
        """A push to more than `second_approval` percent of the fleet waits for a second operator; None: none does."""
        self._database = database
        self._second_approval = second_approval

    def start(
        self,
        devices: Sequence[str] | None,
        percent: float,
        stop_above: float,
        *,
        cohort: str | None = None,
        pack: SharedPack | None = None,
        experiment: Experiment | None = None,
        by: str | None = None,
    ) -> int:
        """Want new weights for `percent` of these devices, of a cohort, or of all: from the last context of each
        that has one or, with a `pack`, that one for each that runs its bundle. Returns the number of the roll-out.

        It is `advance` that asks for the devices. One that is owed something already, as for an upload, keeps that, and
        its version. The roll-out stops by itself when surely more than `stop_above` (a share) of the phones refuse it.
        With an `experiment`, some of the devices are held out of it. Raises LookupError, and does nothing, if one of
        `devices` never uploaded a context, or does not run the pack's bundle.
        """
        chosen = list(dict.fromkeys(devices)) if devices is not None else None
        scope = Scope(chosen, cohort, pack and pack.bundle)
        with self._database.writing() as connection:
            _check_listed(connection, scope)
            waits = self._needs_two(connection, scope, percent)
            values: dict[str, Any] = {"percent": percent, "stop_above": stop_above, "state": RUNNING}
            if waits:
                values |= {"percent": 0.0, "proposed": percent, "proposed_by": by}
            values |= {"devices": chosen, "cohort": cohort, **asdict(experiment or Experiment())}
            if pack is not None:
                version = version_for_all(connection, pack.bundle)
                values |= {"pack": pack.sha256, "bundle": pack.bundle, "version": version}
            rollout = connection.scalar(insert(Rollout).values(**values).returning(Rollout.id))
            assert rollout is not None
            audit.note(
                connection,
                "operator",
                "proposed" if waits else "pushed",
                by,
                rollout=rollout,
                devices="all" if chosen is None else len(chosen),
                percent=percent,
                **{name: values[name] for name in ("cohort", "pack", "hold_out") if values.get(name)},
            )
        return rollout

    def reach_of(self, devices: Sequence[str] | None, *, cohort: str | None, bundle: str | None) -> Reach:
        """How many a push to 100 percent of these devices would reach, of a pack if its `bundle` is given.

        Raises LookupError where `start` would.
        """
        scope = Scope(devices, cohort, bundle)
        with self._database.reading() as connection:
            _check_listed(connection, scope)
            return Reach(count(connection, scope), reach(connection, scope))

    def extend(self, rollout: int, percent: float, by: str | None = None) -> None:
        """Want `percent` of the roll-out's devices reached; Conflict unless it is running."""
        with self._database.writing() as connection:
            found = locked(connection, rollout)
            if found.state != RUNNING:
                raise Conflict(f"roll-out {rollout} is {found.state}")
            # From the start of the stage: those that were passed over until now are due by the larger share.
            values: dict[str, Any] = {"percent": max(percent, found.percent), "cursor": None}
            scope = Scope(found.devices, found.cohort, found.bundle)
            waits = percent > found.percent and self._needs_two(connection, scope, percent)
            if waits:
                values = {"proposed": percent, "proposed_by": by}
            elif found.percent == 0:
                raise Conflict(f"roll-out {rollout} {AWAITS_APPROVAL}: approve or stop it first")
            connection.execute(update(Rollout).where(Rollout.id == rollout).values(values))
            action = "proposed" if waits else "extended"
            audit.note(connection, "operator", action, by, rollout=rollout, percent=percent)

    def approve(self, rollout: int, by: str) -> None:
        """Have what another operator proposed reach its devices; Conflict where nothing waits, or it was the same."""
        approve(self._database, rollout, by)

    def awaits_approval(self, rollout: int) -> bool:
        """Whether an operator proposed a larger share, which a second one has to approve."""
        with self._database.reading() as connection:
            waits = select(Rollout.id).where(Rollout.id == rollout, Rollout.proposed.is_not(None))
            return connection.scalar(waits) is not None

    def _needs_two(self, connection: Connection, scope: Scope, percent: float) -> bool:
        most = self._second_approval
        return most is not None and share_of_fleet(connection, scope, percent) > most

    def advance(self) -> list[Stage]:
        """Ask for the next devices of each roll-out that has some left; empty where none has."""
        return [advance(self._database, rollout) for rollout in unfinished(self._database)]

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
            with self._database.writing() as connection:
                if (found := locked(connection, rollout)).state == RUNNING:
                    asked = ask(connection, found, sorted(reached))
                    more = {"reached": Rollout.reached + len(asked)}
                    connection.execute(update(Rollout).where(Rollout.id == rollout).values(more))
                    versions |= asked
        return versions

    def stop(self, rollout: int, by: str | None = None) -> None:
        """Ask for no more devices, and withhold what is not fetched; Conflict unless it is running."""
        with self._database.writing() as connection:
            if (state := locked(connection, rollout).state) != RUNNING:
                raise Conflict(f"roll-out {rollout} is {state}")
            stop(connection, rollout, "operator", by)

    def roll_back(self, rollout: int, by: str | None = None) -> bool:
        """Want each device whose newest weights this brought to have the ones before them, as a new version.

        Devices with newer weights, e.g. from a later context, are not touched; what is not released yet never is.
        Returns False where that was done, or begun, before.
        """
        with self._database.writing() as connection:
            if locked(connection, rollout).state in (ROLLING_BACK, ROLLED_BACK):
                return False
            back = {"state": ROLLING_BACK, "cursor": None, "proposed": None}
            connection.execute(update(Rollout).where(Rollout.id == rollout).values(back))
            cancel(connection, rollout)
            audit.note(connection, "operator", "rolled back", by, rollout=rollout)
        return True

    def status(self, rollout: int) -> dict[str, Any]:
        """Its settings and state, how many devices it asked for, how many of these still wait, how many releases it
        made, how many devices were held out of it, and how many of each outcome were reported. A running one that has
        nothing left to do is `done`, or `awaits approval` where an operator proposed a larger share.
        """
        with self._database.reading() as connection:
            of = Rollout
            columns = of.id, of.percent, of.stop_above, of.state, of.started_at, of.reached, of.hold_out
            proposal = of.proposed, of.proposed_by
            all_asked = (of.asked >= of.percent).label("all_asked")
            query = select(*columns, *proposal, all_asked).where(of.id == rollout)
            row = connection.execute(query).mappings().one_or_none()
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
            held = select(func.count()).select_from(IssuedRelease).where(IssuedRelease.held_out == rollout)
            held_out = connection.scalar(held) or 0
            due = select(func.count()).where(Device.rollout == rollout, Device.pending == true())
            waiting = connection.scalar(due)
        status = {**row, "waiting": waiting, "released": sum(counts.values()), "outcomes": counts}
        status["held_out"] = held_out
        if status.pop("all_asked") and waiting == 0 and status["state"] == RUNNING:
            status["state"] = DONE if status["proposed"] is None else AWAITS_APPROVAL
        return status

    def report(
        self, device: str, bundle: str, version: int, outcome: str, fetched: Collection[str] = ()
    ) -> int | None:
        """Note what became of a release on its device; returns the roll-out if that stops it.

        `fetched` are packs (SHA-256) that the device has just fetched. Of what it never fetched it can say nothing that
        counts, nor can a device that was enrolled when the roll-out had begun: anybody may enrol.
        """
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
        got = update(IssuedRelease).where(
            IssuedRelease.device == device, IssuedRelease.sha256.in_(sorted(fetched))
        )
        with self._database.writing() as connection:
            if fetched:
                connection.execute(got.values(fetched=True))
            rollout = connection.scalar(reported)
        if rollout is None or outcome not in BLAMED:
            return None
        # A transaction of its own: with the release still locked, it would deadlock with an erasure.
        with self._database.writing() as connection:
            return rollout if _stop_if_bad(connection, rollout) else None


def _check_listed(connection: Connection, scope: Scope) -> None:
    if missing := lacking(connection, scope):
        lack = (
            "no context was ever uploaded by" if scope.bundle is None else "the pack's bundle is not run by"
        )
        raise LookupError(f"{lack} {', '.join(missing[:10])}")


def _stop_if_bad(connection: Connection, rollout: int) -> bool:
    found = locked(connection, rollout)
    blamed = case((IssuedRelease.outcome.in_(BLAMED), IssuedRelease.device))
    heard = select(func.count(IssuedRelease.device.distinct()), func.count(blamed.distinct()))
    of_rollout = heard.join(Device, Device.id == IssuedRelease.device).where(
        IssuedRelease.rollout == rollout,
        IssuedRelease.outcome.is_not(None),
        IssuedRelease.fetched,
        Device.enrolled_at <= found.started_at,
    )
    # One statement: a report or an erasure between two would have more refuse than report.
    reported, refused = connection.execute(of_rollout).one()
    if found.state != RUNNING or refused < REFUSING_AT_LEAST:
        return False
    if share_at_least(refused, reported) <= found.stop_above:
        return False
    stop(connection, rollout, "server", refused=refused, reported=reported)
    return True
