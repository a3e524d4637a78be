"""A push to many phones by two people: one wants it, a second one approves it, and nothing happens before that."""

import time
from typing import Any

from sqlalchemy import Connection, func, select, update

from mnet.toolchain.cloud import audit
from mnet.toolchain.cloud.advance import locked
from mnet.toolchain.cloud.database import Database
from mnet.toolchain.cloud.queries import RUNNING
from mnet.toolchain.cloud.scope import Scope, count, version_for_all
from mnet.toolchain.cloud.tables import Device, Rollout

AWAITS_APPROVAL = "awaits approval"


class Conflict(Exception):
    """The roll-out is not in a state for this."""


def share_of_fleet(connection: Connection, scope: Scope, percent: float) -> float:
    """The percentage of all devices that `percent` of a push's is; of everyone's, also those to come, `percent`."""
    if scope.devices is None and scope.cohort is None:
        return percent
    devices = connection.scalar(select(func.count()).select_from(Device)) or 0
    return percent * count(connection, scope) / max(1, devices)


def approve(database: Database, rollout: int, by: str) -> None:
    """Have a roll-out reach what was proposed; Conflict where nothing was, or by who approves.

    Raises LookupError where there is no such roll-out.
    """
    with database.writing() as connection:
        found = locked(connection, rollout)
        if found.state != RUNNING or found.proposed is None:
            raise Conflict(f"roll-out {rollout} waits for nobody's approval")
        if found.proposed_by == by:
            raise Conflict(f"{by} asked for roll-out {rollout}, and a second operator has to approve it")
        values: dict[str, Any] = {"percent": found.proposed, "proposed": None, "proposed_by": None}
        values["cursor"] = None
        if found.percent == 0:  # nothing of it was made yet
            values["started_at"] = time.time()
            if found.bundle is not None:
                values["version"] = version_for_all(connection, found.bundle)
        connection.execute(update(Rollout).where(Rollout.id == rollout).values(values))
        more = {"percent": found.proposed, "proposed_by": found.proposed_by}
        audit.note(connection, "operator", "approved", by, rollout=rollout, **more)
