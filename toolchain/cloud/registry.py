"""The devices that the cloud knows: their tokens, and the bundles that each runs."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BindParameter,
    Connection,
    bindparam,
    delete,
    exists,
    false,
    func,
    insert,
    or_,
    select,
    update,
)

from mnet.toolchain.cloud import audit
from mnet.toolchain.cloud.database import Database
from mnet.toolchain.cloud.queries import owed
from mnet.toolchain.cloud.tables import (
    Context,
    Device,
    Installation,
    IssuedRelease,
    Measurement,
    UsedPermission,
)
from mnet.toolchain.contract.enrolment import Permission

# Versions that phones may have been given since a backup; what a restored server gives is above them.
LEFT_BEHIND = 1_000_000
# Every request runs these: building a statement costs more than SQLite takes to answer it.
_AT_ONCE = 1000  # devices in one statement
_DEVICE: BindParameter[str] = bindparam("device")
_KNOWN = select(
    Device.token_sha256, Device.bundle, Device.keys, Device.version, Device.backed_up, Device.failures
).where(Device.id == _DEVICE)
_BUNDLES = select(Installation.bundle).where(Installation.device == _DEVICE).order_by(Installation.bundle)
# By the phone's own wish, whatever its roll-out comes to; but a roll-back that it waits for is left to it.
_ASKED = (
    update(Device)
    .where(
        Device.id == bindparam("of"),
        Device.version > 0,
        exists().where(Context.device == Device.id),
        owed(),
        or_(Device.pending == false(), Device.restores.is_(None)),
    )
    .values(pending=True, wanted_at=bindparam("now"), restores=None, rollout=None)
)


@dataclass(frozen=True)
class Known:
    """What a request of a device is checked by; `token_sha256` is None once its token was revoked."""

    token_sha256: str | None
    bundle: str
    keys: int
    version: int
    backed_up: int | None
    failures: int


class Registry:
    """Enrolment, tokens and installations."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def enrol(
        self,
        device: str,
        token_sha256: str,
        bundle: str,
        keys: int = 0,
        cohort: str | None = None,
        *,
        forgotten: bool = False,
        permission: Permission | None = None,
    ) -> None:
        """Make a new device known, which runs one bundle and knows the server's keys of statement number `keys`.

        `forgotten`: it was enrolled before, and may have any version that a restore left behind. Raises PermissionError
        for a `permission` that was used before.
        """
        values: dict[str, Any] = {"id": device, "token_sha256": token_sha256, "bundle": bundle, "keys": keys}
        values["cohort"] = cohort
        if forgotten:
            values |= {"version": LEFT_BEHIND, "backed_up": 0}
        with self._database.writing() as connection:
            if permission is not None:
                if connection.scalar(select(UsedPermission.id).where(UsedPermission.id == permission.id)):
                    raise PermissionError("the permission to enrol was used before")
                used = {"id": permission.id, "expires_at": float(permission.expires_at)}
                connection.execute(insert(UsedPermission).values(used))
            connection.execute(insert(Device).values(values))
            connection.execute(insert(Installation).values(device=device, bundle=bundle))

    def join(self, cohort: str, devices: Sequence[str], by: str | None = None) -> None:
        """Make these devices members of a cohort, and of no other. Raises LookupError, and does nothing, if one is
        not known.
        """
        wanted, known = sorted(set(devices)), set[str]()
        with self._database.writing() as connection:
            for start in range(0, len(wanted), _AT_ONCE):
                some = wanted[start : start + _AT_ONCE]
                joined = update(Device).where(Device.id.in_(some)).values(cohort=cohort).returning(Device.id)
                known |= set(connection.scalars(joined))
            if missing := [device for device in wanted if device not in known]:
                raise LookupError(f"there is no device {', '.join(missing[:10])}")
            audit.note(connection, "operator", "joined", by, cohort=cohort, devices=len(wanted))

    def cohorts(self) -> dict[str, int]:
        """Every cohort, and how many devices it has."""
        query = select(Device.cohort, func.count()).where(Device.cohort.is_not(None)).group_by(Device.cohort)
        with self._database.reading() as connection:
            return {str(name): count for name, count in connection.execute(query.order_by(Device.cohort))}

    def known(self, device: str) -> Known | None:
        """What is known of a device; None for one that is not enrolled."""
        with self._database.reading() as connection:
            row = connection.execute(_KNOWN, {"device": device}).one_or_none()
        return None if row is None else Known(*row)

    def learnt(self, device: str, keys: int) -> None:
        """Note that a device has learnt the server's keys of this statement."""
        with self._database.writing() as connection:
            connection.execute(update(Device).where(Device.id == device).values(keys=keys))

    def behind(self, keys: int) -> tuple[int, int]:
        """How many devices with a token have not learnt the keys of this statement, and how many there are."""
        counted = func.count().filter(Device.keys < keys), func.count()
        with self._database.reading() as connection:
            behind, known = connection.execute(
                select(*counted).select_from(Device).where(Device.token_sha256.is_not(None))
            ).one()
        return behind, known

    def bundles(self, device: str) -> list[str]:
        """The bundles that a device runs."""
        with self._database.reading() as connection:
            return list(connection.scalars(_BUNDLES, {"device": device}))

    def install(self, device: str, bundles: Sequence[str]) -> None:
        """Note that a device now runs these bundles and no other, and ask for their packs; the first is its main one.

        What it uploaded before is enough: each new bundle gets a pack of the device's last version. Raises LookupError
        for a device that is not known (any more).
        """
        with self._database.writing() as connection:
            main = update(Device).where(Device.id == device).values(bundle=bundles[0])  # and locks the row
            if not connection.execute(main).rowcount:
                raise LookupError(f"there is no device {device}")
            had = set(connection.scalars(_BUNDLES, {"device": device}))
            new = [bundle for bundle in dict.fromkeys(bundles) if bundle not in had]
            gone = delete(Installation).where(
                Installation.device == device, Installation.bundle.not_in(bundles)
            )
            connection.execute(gone)
            if new:
                connection.execute(
                    insert(Installation), [{"device": device, "bundle": bundle} for bundle in new]
                )
                connection.execute(_ASKED, {"of": device, "now": time.time()})
            if new or set(bundles) != had:
                audit.note(connection, "device", "installed", device=device, bundles=list(bundles))

    def revoke(self, device: str, by: str | None = None) -> bool:
        """Make a device's token worthless, for good; False for a device that is not enrolled."""
        with self._database.writing() as connection:
            revoked = update(Device).where(Device.id == device).values(token_sha256=None)
            found = connection.execute(revoked).rowcount > 0
            if found:
                audit.note(connection, "operator", "revoked", by, device=device)
            return found

    def erase(self, device: str, actor: audit.Actor, by: str | None = None) -> bool:
        """Delete all that is known of a device but the audit log's entries; False if nothing was."""
        with self._database.releasing() as connection:  # no batch under way may bring a release of it back
            found = _forget(connection, device)
            if found:
                audit.note(connection, actor, "erased", by, device=device)
            return found


def _forget(connection: Connection, device: str) -> bool:
    # Locked before its rows elsewhere, in the order in which an upload locks them.
    connection.execute(select(Device.id).where(Device.id == device).with_for_update())
    for table in (Context, Measurement, IssuedRelease, Installation):
        connection.execute(delete(table).where(table.device == device))
    return connection.execute(delete(Device).where(Device.id == device)).rowcount > 0
