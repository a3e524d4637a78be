"""What the server lost: releases since a backup, packs, and what will not come of a context; each device gets on."""

import time
from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, func, select, update

from mnet.toolchain.cloud import audit
from mnet.toolchain.cloud.database import Database
from mnet.toolchain.cloud.locks import locked_devices
from mnet.toolchain.cloud.pack_store import SHARED
from mnet.toolchain.cloud.tables import Context, Device, IssuedRelease

TRIES = 6  # half an hour of them
AHEAD_AT_MOST, RAISED_EVERY_S = 10_000, 24 * 3600.0


class Recovery:
    """Of the devices of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def raise_above(self, device: str, version: int) -> bool:
        """Give a device that has `version` a higher one, which a server could not know that lost its last releases.

        What it then gets is what this server would have it run. Without a restore that says so, it is at most
        AHEAD_AT_MOST above, once a day: a device that lies comes to nothing by it. Returns whether a release is to be
        made.
        """
        now, of = time.time(), Device
        query = select(of.version, of.pending, of.raised_at, of.backed_up).where(of.id == device)
        with self._database.writing() as connection:
            found = connection.execute(query.with_for_update()).one_or_none()
            if found is None or version <= (found.version if found.backed_up is None else found.backed_up):
                return False
            unlikely = version > found.version + AHEAD_AT_MOST or now < found.raised_at + RAISED_EVERY_S
            if found.backed_up is None and unlikely:
                return False
            next_version = max(found.version, min(version, found.version + AHEAD_AT_MOST)) + 1
            values: dict[str, Any] = {"version": next_version, "raised_at": now, "backed_up": None}
            if not found.pending:
                restores = _what_it_had(connection, device, next_version - 1)
                pending = restores is not None or _has_context(connection, device)
                values |= {"pending": pending, "restores": restores, "rollout": None, "wanted_at": now}
            connection.execute(update(Device).where(Device.id == device).values(values))
            audit.note(connection, "server", "caught up", device=device, version=next_version)
        return bool(values.get("pending", True))

    def withdraw(self, device: str, owner: str, sha256: str) -> bool:
        """Offer a pack no more that is lost from the store, to this device; it gets weights again, as a new version.

        Those come from its context, or are what was pushed to it or, without both, what it had before. Returns whether
        a release is to be made.
        """
        of, now = IssuedRelease, time.time()
        with self._database.writing() as connection:
            known = locked_devices(connection, [device])
            lost = update(of).where(of.device == device, of.sha256 == sha256, of.jws.is_not(None))
            rows = connection.execute(lost.values(jws=None).returning(of.version, of.rollout)).all()
            if device not in known or not rows:
                return False
            version, pending = known[device]
            newest, rollout = max(rows)[0], max(rows, key=lambda row: row.version).rollout
            pushed = owner == SHARED and rollout is not None
            again: dict[str, Any] = {"pending": True, "wanted_at": now}
            if not pending:
                newer = select(of.id).where(of.device == device, of.jws.is_not(None), of.version > newest)
                if connection.scalar(newer.limit(1)) is not None:
                    return False
                again |= {"version": version + 1, "rollout": rollout if pushed else None}
            context = pushed or _has_context(connection, device)
            again["restores"] = None if context else version
            connection.execute(update(Device).where(Device.id == device).values(again))
            audit.note(connection, "server", "pack lost", device=device, version=newest)
        return True

    def failed(self, devices: Collection[str], seconds: float) -> list[str]:
        """No weights came of what these devices are owed: try again in so many seconds, twice as many after each try.

        After TRIES they wait no more, until they upload, or somebody pushes; the context is kept. Returns those.
        """
        later = time.time() + seconds * func.pow(2, Device.failures)
        again = {"wanted_at": later, "failures": Device.failures + 1, "pending": Device.failures + 1 < TRIES}
        with self._database.writing() as connection:
            locked_devices(connection, devices)
            tried = update(Device).where(Device.id.in_(devices)).values(again)
            rows = connection.execute(tried.returning(Device.id, Device.pending)).all()
        return sorted(device for device, pending in rows if not pending)


def _has_context(connection: Connection, device: str) -> bool:
    return connection.scalar(select(Context.device).where(Context.device == device)) is not None


def _what_it_had(connection: Connection, device: str, version: int) -> int | None:
    """`version` where a device's newest weights were pushed to many, or are all that there is; else its context is."""
    newest = select(IssuedRelease.shared).where(
        IssuedRelease.device == device, IssuedRelease.jws.is_not(None)
    )
    shared = connection.scalar(newest.order_by(IssuedRelease.version.desc()).limit(1))
    if shared is None or (not shared and _has_context(connection, device)):
        return None
    return version
