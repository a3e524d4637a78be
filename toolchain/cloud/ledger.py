"""Which version of its weights each device is due, and which it was given.

A device's `version` is the number last given out. It rises in the transaction that stores the context (or the
push) that asks for it: versions never repeat, a higher one never stems from an older context, and what a
killed server had accepted but not yet released is found again by `unreleased`.
"""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, delete, false, func, insert, or_, select, update

from mnet.toolchain.cloud import audit, queries
from mnet.toolchain.cloud.database import Database
from mnet.toolchain.cloud.issued import Issued, already_given, ended, insert_new, key_of, named_packs, rows_of
from mnet.toolchain.cloud.locks import locked_devices
from mnet.toolchain.cloud.pack_store import SHARED
from mnet.toolchain.cloud.recovery import Recovery
from mnet.toolchain.cloud.sealing import Sealer
from mnet.toolchain.cloud.tables import Context, Device, IssuedRelease, Measurement, Rollout, UsedPermission

WAITS_AT_MOST_S = 7 * 24 * 3600
_AT_ONCE = 1000  # contexts deleted in one transaction


@dataclass(frozen=True)
class Wanted:
    """A release that a device waits for.

    `restores` is None for one from `samples`; else the newest version whose weights may come back, the pack of
    which is `sha256` (None: the bundle's default weights), `shared` or not. `pack` is the SHA-256 of the pack that an
    operator pushed. `rollout` is what the release is part of, `held_out` what its device is held out of.
    """

    device: str
    bundle: str
    version: int
    samples: list[Any] | None
    restores: int | None
    sha256: str | None
    rollout: int | None
    shared: bool = False
    pack: str | None = None
    held_out: int | None = None


@dataclass(frozen=True)
class Added:
    """The releases that were published, and device and SHA-256 of each pack that is of no use (any more)."""

    published: list[Issued]
    useless: list[tuple[str, str]]


@dataclass(frozen=True)
class News:
    """A release that some replica made."""

    id: int
    device: str
    bundle: str
    version: int


class Ledger:
    """Contexts, versions and releases of one database; `recovery` is for what was lost of them."""

    def __init__(self, database: Database, sealer: Sealer | None = None) -> None:
        """`sealer` keeps contexts from whoever has the database alone; without one they are kept as they came."""
        self._database = database
        self._sealer = sealer
        self.recovery = Recovery(database)

    def add_context(self, device: str, samples: Sequence[Any]) -> int:
        """Keep `samples` as the device's last context; returns the version that will stem from it.

        Raises LookupError for a device that is not known (any more).
        """
        now = time.time()
        with self._database.writing() as connection:
            version = connection.scalar(queries.UPLOADED, {"of": device, "now": now})
            if version is None:
                raise LookupError(f"there is no device {device}")
            kept = list(samples) if self._sealer is None else self._sealer.seal(device, samples)
            values = {"samples": kept, "uploaded_at": now}
            if not connection.execute(queries.REPLACE_CONTEXT, {"of": device, **values}).rowcount:
                connection.execute(insert(Context), {"device": device, **values})
        return version

    def unreleased(self, bundles: Collection[str], before: float) -> list[str]:
        """Devices that have waited since `before` (Unix seconds) for a release for one of these bundles."""
        with self._database.reading() as connection:
            return list(connection.scalars(queries.UNRELEASED, {"bundles": list(bundles), "before": before}))

    def wanted(self, devices: Sequence[str]) -> list[Wanted]:
        """What to release next for these devices; nothing for those whose last version is released."""
        with self._database.reading() as connection:
            found = [Wanted(*row) for row in connection.execute(queries.WANTED, {"devices": devices})]
        return [replace(each, samples=self._opened(each)) for each in found]

    def _opened(self, wanted: Wanted) -> list[Any] | None:
        if self._sealer is None or not isinstance(wanted.samples, str):
            return wanted.samples  # as those of before there were keys
        return self._sealer.open(wanted.device, wanted.samples)

    def add_releases(self, issued: Sequence[Issued]) -> Added:
        """Publish releases, all or none, and forget all but the newest two of each device and bundle.

        Left out are those that another replica was quicker with (its packs have the same bytes), those of a roll-out
        that is over, and those of devices that were erased meanwhile.
        """
        rows = rows_of(issued)
        devices = sorted({device for device, _, _ in rows})
        with self._database.releasing() as connection:
            over = ended(connection, {row["rollout"] for row in rows.values()})
            # Locked, so that what is installed at this moment is not taken for released.
            known = locked_devices(connection, devices)
            given = already_given(connection, rows)
            new = {
                key: row
                for key, row in rows.items()
                if key[0] in known and key not in given and row["rollout"] not in over
            }
            useless = insert_new(connection, rows, new, devices)
        return Added([each for each in issued if key_of(each) in new], useless)

    def import_releases(self, issued: Sequence[Issued]) -> Added:
        """Publish releases that were made elsewhere, as the newest of their devices, all or none.

        Left out are those of devices that are not known, that wait for a release, or that have been given that version
        for that bundle or a newer one.
        """
        rows = rows_of(issued)
        devices = sorted({device for device, _, _ in rows})
        with self._database.releasing() as connection:
            # Locked, so that an upload at this moment gets the version after.
            versions = {
                device: version
                for device, (version, pending) in locked_devices(connection, devices).items()
                if not pending
            }
            given = already_given(connection, rows)
            new = {
                key: row
                for key, row in rows.items()
                if key not in given and key[0] in versions and key[2] >= max(versions[key[0]], 1)
            }
            newest: dict[str, int] = {}
            for device, _, version in new:
                newest[device] = max(version, newest.get(device, 0))
            if newest:
                imported = [{"of": device, "version": version} for device, version in newest.items()]
                connection.execute(queries.SET_VERSION, imported)
            useless = insert_new(connection, rows, new, devices)
        return Added([each for each in issued if key_of(each) in new], useless)

    def release_after(self, device: str, bundle: str, version: int) -> str | None:
        """The newest release of a device for a bundle as JWS, if it is newer than `version`; it may have expired.

        Those of a stopped roll-out are withheld.
        """
        asked = {"device": device, "bundle": bundle, "after": version}
        with self._database.reading() as connection:
            return connection.scalar(queries.RELEASE_AFTER, asked)

    def pack_owner(self, device: str, sha256: str) -> str | None:
        """Under which name a pack is stored that a kept release of this device names; None if there is none."""
        asked = {"device": device, "sha256": sha256}
        with self._database.reading() as connection:
            shared = connection.scalar(queries.PACK_IS_SHARED, asked)
        return None if shared is None else SHARED if shared else device

    def last_pack(self, device: str, bundle: str) -> tuple[str, bool, int | None] | None:
        """SHA-256 of the pack that a device's newest release for a bundle names, if it is shared, and its roll-out."""
        with self._database.reading() as connection:
            row = connection.execute(queries.LAST_PACK, {"device": device, "bundle": bundle}).one_or_none()
        return None if row is None else (row.sha256, row.shared, row.rollout)

    def pushed_to_all(self, bundle: str) -> list[tuple[int, float, str]]:
        """The running roll-outs of a pack to everyone who runs a bundle, newest first: id, percentage, SHA-256."""
        query = (
            select(Rollout.id, Rollout.percent, Rollout.pack)
            .where(Rollout.bundle == bundle, Rollout.state == queries.RUNNING, Rollout.pack.is_not(None))
            .where(Rollout.devices.is_(None), Rollout.cohort.is_(None))
            .order_by(Rollout.id.desc())
        )
        with self._database.reading() as connection:
            return [(row.id, row.percent, row.pack) for row in connection.execute(query)]

    def waited(self, device: str, bundle: str, version: int) -> float | None:
        """Seconds since the upload that a release stems from; None for one that is not its device's newest, or is of a
        push, and once the device has reported of it.
        """
        asked = {"device": device, "bundle": bundle, "version": version}
        with self._database.reading() as connection:
            since = connection.scalar(queries.UPLOADED_AT, asked)
        return None if since is None else max(0.0, time.time() - since)

    def named(self, packs: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
        """Those of these packs, by device and SHA-256, that a kept release names."""
        with self._database.reading() as connection:
            return named_packs(connection, packs)

    def newest_id(self) -> int:
        """The id of the newest release of all; 0 without any."""
        with self._database.reading() as connection:
            return connection.scalar(select(func.max(IssuedRelease.id))) or 0

    def news(self, after: int) -> list[News]:
        """Releases with an id above `after`, oldest first, some thousands at a time."""
        with self._database.reading() as connection:
            return [News(*row) for row in connection.execute(queries.NEWS, {"after": after})]

    def history(self, device: str) -> list[dict[str, Any]]:
        """The releases of a device, newest first, with what it reported of each."""
        of = IssuedRelease
        query = select(of.version, of.bundle, of.sha256, of.issued_at, of.rollout, of.outcome)
        with self._database.reading() as connection:
            rows = connection.execute(query.where(of.device == device).order_by(of.id.desc()))
            return [dict(row) for row in rows.mappings()]

    def forget(self, *, contexts_before: float | None, releases_before: int) -> None:
        """Delete contexts that are old and were released, and the history of releases that are gone; Unix seconds.

        A context that waits, as for a bundle that no server has any more, is kept for WAITS_AT_MOST_S longer.
        """
        while contexts_before is not None and self._forget_contexts(contexts_before) == _AT_ONCE:
            pass
        with self._database.writing() as connection:
            connection.execute(
                delete(IssuedRelease).where(
                    IssuedRelease.issued_at < releases_before, IssuedRelease.jws.is_(None)
                )
            )
            connection.execute(delete(Measurement).where(Measurement.reported_at < releases_before))
            connection.execute(delete(UsedPermission).where(UsedPermission.expires_at < time.time()))
            audit.prune(connection, time.time())

    def _forget_contexts(self, before: float) -> int:
        """Delete some of the contexts of `forget`; returns how many devices had one."""
        old = (
            select(Device.id)
            .join(Context, Context.device == Device.id)
            .where(Context.uploaded_at <= before)
            .where(or_(Device.pending == false(), Context.uploaded_at <= before - WAITS_AT_MOST_S))
            .order_by(Device.id)
            .limit(_AT_ONCE)
        )
        with self._database.writing() as connection:
            # An upload locks its device first: it comes before, and is seen, or after, with a context of its own.
            locked = old.with_for_update(of=Device, key_share=True, skip_locked=True)
            devices = list(connection.scalars(locked))
            connection.execute(
                delete(Context).where(Context.device.in_(devices), Context.uploaded_at <= before)
            )
            connection.execute(
                update(Device)
                .where(Device.id.in_(devices), Device.restores.is_(None), ~_awaits_a_pushed_pack())
                .values(pending=False)
            )
        return len(devices)


def _awaits_a_pushed_pack() -> ColumnElement[bool]:
    return select(Rollout.id).where(Rollout.id == Device.rollout, Rollout.pack.is_not(None)).exists()
