"""What the server remembers: devices, their last context, and the newest releases of each.

A device's `version` is the number last given out. It rises in the transaction that stores the context (or the
push) that asks for it: versions never repeat, a higher one never stems from an older context, and what a
killed server had accepted but not yet released is found again by `unreleased`.
"""

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    JSON,
    BindParameter,
    Connection,
    Engine,
    ForeignKey,
    bindparam,
    create_engine,
    delete,
    event,
    exists,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, Mapped, aliased, mapped_column

from toolchain.cloud.release import Release
from toolchain.errors import UserError

# A device asks for its newest release only; the one before it may still be on its way to a slow phone.
KEPT_RELEASES = 2
# As many as the server has threads: SQLAlchemy closes what is over this after each use, and opening costs more.
_CONNECTIONS = 48


class _Base(DeclarativeBase):
    pass


class Device(_Base):
    """One enrolled phone; its token is kept as a hash only."""

    __tablename__ = "devices"
    id: Mapped[str] = mapped_column(primary_key=True)
    token_sha256: Mapped[str]
    bundle: Mapped[str]
    version: Mapped[int] = mapped_column(default=0)
    enrolled_at: Mapped[float] = mapped_column(default=time.time)


class Context(_Base):
    """The last context that a device uploaded."""

    __tablename__ = "contexts"
    device: Mapped[str] = mapped_column(ForeignKey("devices.id"), primary_key=True)
    samples: Mapped[list[Any]] = mapped_column(JSON)
    uploaded_at: Mapped[float]


class IssuedRelease(_Base):
    """One signed release, with the claims that are searched for."""

    __tablename__ = "releases"
    device: Mapped[str] = mapped_column(ForeignKey("devices.id"), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    sha256: Mapped[str] = mapped_column(index=True)
    expires_at: Mapped[int]
    jws: Mapped[str]


# Statements that every request or batch runs are built once: building one costs more than SQLite takes to answer.
_DEVICE: BindParameter[str] = bindparam("device")
_DEVICES: BindParameter[str] = bindparam("devices", expanding=True)
_TOKEN = select(Device.token_sha256).where(Device.id == _DEVICE)
_NEXT_VERSIONS = (
    update(Device)
    .where(Device.id.in_(_DEVICES))
    .values(version=Device.version + 1)
    .returning(Device.id, Device.version)
)
_REPLACE_CONTEXT = (
    update(Context)
    .where(Context.device == bindparam("of"))
    .values(samples=bindparam("samples"), uploaded_at=bindparam("uploaded_at"))
)
_WANTED = (
    select(Device.id, Device.bundle, Device.version, Context.samples)
    .join(Context, Context.device == Device.id)
    .where(
        Device.id.in_(_DEVICES),
        ~exists().where(IssuedRelease.device == Device.id, IssuedRelease.version == Device.version),
    )
)
_newer = aliased(IssuedRelease)
_FORGET_SUPERSEDED = (
    delete(IssuedRelease)
    .where(
        IssuedRelease.device.in_(_DEVICES),
        select(func.count())
        .where(_newer.device == IssuedRelease.device, _newer.version > IssuedRelease.version)
        .scalar_subquery()
        >= bindparam("kept"),
    )
    .returning(IssuedRelease.sha256)
)
_NAMED = select(IssuedRelease.sha256).where(IssuedRelease.sha256.in_(bindparam("digests", expanding=True)))
_RELEASE_AFTER = (
    select(IssuedRelease.jws)
    .where(
        IssuedRelease.device == _DEVICE,
        IssuedRelease.version > bindparam("after"),
        IssuedRelease.expires_at > bindparam("now"),
    )
    .order_by(IssuedRelease.version.desc())
    .limit(1)
)
_HAS_PACK = (
    select(IssuedRelease.version)
    .where(IssuedRelease.device == _DEVICE, IssuedRelease.sha256 == bindparam("sha256"))
    .limit(1)
)


@dataclass(frozen=True)
class Wanted:
    """The release that a device waits for: this context, as this version."""

    device: str
    bundle: str
    version: int
    samples: list[Any]


class Database:
    """The server's tables behind the few questions that it asks; safe to use from several threads."""

    def __init__(self, url: str) -> None:
        """Open or create the database at an SQLAlchemy `url`; UserError where that fails."""
        try:
            # The parameters that are hidden from logs hold contexts.
            self._engine = create_engine(url, hide_parameters=True, pool_size=_CONNECTIONS)
            if self._engine.dialect.name == "sqlite":
                _make_durable(self._engine)
            _Base.metadata.create_all(self._engine)
        except SQLAlchemyError as error:
            raise UserError(f"cannot open the database {url}: {str(error).splitlines()[0]}") from error
        self._turn = threading.Lock()

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        """A transaction. Writers queue here: SQLite has one at a time, and its own queue sleeps up to 100 ms."""
        with self._turn, self._engine.begin() as connection:
            yield connection

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    def ping(self) -> None:
        """Raise SQLAlchemyError unless the database answers."""
        with self._engine.connect() as connection:
            connection.execute(text("SELECT 1"))

    def add_device(self, device: str, token_sha256: str, bundle: str) -> None:
        """Enrol a new device."""
        with self._writing() as connection:
            connection.execute(insert(Device).values(id=device, token_sha256=token_sha256, bundle=bundle))

    def token_sha256(self, device: str) -> str | None:
        """The hash of a device's token; None for a device that is not enrolled."""
        with self._engine.connect() as connection:
            return connection.scalar(_TOKEN, {"device": device})

    def add_context(self, device: str, samples: Sequence[Any]) -> int:
        """Keep `samples` as the device's last context; returns the version that will stem from it."""
        values = {"samples": list(samples), "uploaded_at": time.time()}
        with self._writing() as connection:
            version = _next_versions(connection, [device])[device]
            if not connection.execute(_REPLACE_CONTEXT, {"of": device, **values}).rowcount:
                connection.execute(insert(Context), {"device": device, **values})
        return version

    def renew(self, devices: Sequence[str] | None) -> dict[str, int]:
        """Ask for a new version of these devices, or all, from their last context; version by device.

        Without a list, those that never uploaded one are left out; in a list, one such raises LookupError and
        nothing is done.
        """
        known = select(Context.device)
        if devices is not None:
            known = known.where(Context.device.in_(devices))
        with self._writing() as connection:
            versions = _next_versions(connection, list(connection.scalars(known)))
            if missing := sorted(set(devices or ()) - set(versions)):
                raise LookupError(f"no context was ever uploaded by {', '.join(missing)}")
            return versions

    def unreleased(self) -> list[str]:
        """Devices whose last version was given out but never released."""
        released = select(func.max(IssuedRelease.version)).where(IssuedRelease.device == Device.id)
        behind = Device.version > func.coalesce(released.scalar_subquery(), 0)
        with self._engine.connect() as connection:
            return list(connection.scalars(select(Device.id).where(behind)))

    def wanted(self, devices: Sequence[str]) -> list[Wanted]:
        """What to release next for these devices; nothing for those whose last version is released."""
        with self._engine.connect() as connection:
            return [Wanted(*row) for row in connection.execute(_WANTED, {"devices": devices})]

    def add_releases(self, signed: Iterable[tuple[Release, str]]) -> set[str]:
        """Publish releases with their JWS, all or none, and forget all but the newest two of each device.

        Returns the digests of packs that no release names any more.
        """
        rows = [
            {
                "device": release.device,
                "version": release.version,
                "sha256": release.sha256,
                "expires_at": release.expires_at,
                "jws": jws,
            }
            for release, jws in signed
        ]
        with self._writing() as connection:
            connection.execute(insert(IssuedRelease), rows)
            superseded = {"devices": [row["device"] for row in rows], "kept": KEPT_RELEASES}
            forgotten = set(connection.scalars(_FORGET_SUPERSEDED, superseded))
            return forgotten - _named(connection, forgotten)

    def unnamed(self, digests: Iterable[str]) -> set[str]:
        """Those of these packs that no release names."""
        asked = set(digests)
        with self._engine.connect() as connection:
            return asked - _named(connection, asked)

    def release_after(self, device: str, version: int, now: int) -> str | None:
        """The newest release of a device as JWS, if it is newer than `version` and valid at `now`."""
        asked = {"device": device, "after": version, "now": now}
        with self._engine.connect() as connection:
            return connection.scalar(_RELEASE_AFTER, asked)

    def has_pack(self, device: str, sha256: str) -> bool:
        """Whether a release of this device names this pack."""
        with self._engine.connect() as connection:
            return connection.scalar(_HAS_PACK, {"device": device, "sha256": sha256}) is not None


def _next_versions(connection: Connection, devices: Sequence[str]) -> dict[str, int]:
    """Raise the version of these devices by one and return it."""
    return dict(connection.execute(_NEXT_VERSIONS, {"devices": devices}).tuples().all())


def _named(connection: Connection, digests: set[str]) -> set[str]:
    """Those of these packs that a release names; two devices with one context share a pack."""
    return set(connection.scalars(_NAMED, {"digests": list(digests)})) if digests else set()


def _make_durable(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def set_pragmas(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")  # a version given out must survive a power loss
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA busy_timeout=30000")
