"""What the server remembers: devices, their last context, and every release.

A device's `version` is the number last given out. It rises in the transaction that stores the context (or the
push) that asks for it: versions never repeat, a higher one never stems from an older context, and what a
killed server had accepted but not yet released is found again by `unreleased`.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import JSON, Engine, ForeignKey, create_engine, event, func, select, text, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from toolchain.cloud.release import Release
from toolchain.errors import UserError


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
    sha256: Mapped[str]
    expires_at: Mapped[int]
    jws: Mapped[str]


@dataclass(frozen=True)
class Wanted:
    """The release that a device waits for: this context, as this version."""

    bundle: str
    version: int
    samples: list[Any]


class Database:
    """The server's tables behind the few questions that it asks; safe to use from several threads."""

    def __init__(self, url: str) -> None:
        """Open or create the database at an SQLAlchemy `url`; UserError where that fails."""
        try:
            self._engine = create_engine(url, hide_parameters=True)  # parameters hold contexts
            if self._engine.dialect.name == "sqlite":
                _make_durable(self._engine)
            _Base.metadata.create_all(self._engine)
        except SQLAlchemyError as error:
            raise UserError(f"cannot open the database {url}: {str(error).splitlines()[0]}") from error
        self._transaction = sessionmaker(self._engine, expire_on_commit=False)

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    def ping(self) -> None:
        """Raise SQLAlchemyError unless the database answers."""
        with self._transaction() as session:
            session.execute(text("SELECT 1"))

    def add_device(self, device: str, token_sha256: str, bundle: str) -> None:
        """Enrol a new device."""
        with self._transaction.begin() as session:
            session.add(Device(id=device, token_sha256=token_sha256, bundle=bundle))

    def device(self, device: str) -> Device | None:
        """The device of that id."""
        with self._transaction() as session:
            return session.get(Device, device)

    def add_context(self, device: str, samples: Sequence[Any]) -> int:
        """Keep `samples` as the device's last context; returns the version that will stem from it."""
        with self._transaction.begin() as session:
            version = _next_versions(session, [device])[device]
            session.merge(Context(device=device, samples=list(samples), uploaded_at=time.time()))
        return version

    def renew(self, devices: Sequence[str] | None) -> dict[str, int]:
        """Ask for a new version of these devices, or all, from their last context; version by device.

        Without a list, those that never uploaded one are left out; in a list, one such raises LookupError and
        nothing is done.
        """
        known = select(Context.device)
        if devices is not None:
            known = known.where(Context.device.in_(devices))
        with self._transaction.begin() as session:
            versions = _next_versions(session, known)
            if missing := sorted(set(devices or ()) - set(versions)):
                raise LookupError(f"no context was ever uploaded by {', '.join(missing)}")
            return versions

    def unreleased(self) -> list[str]:
        """Devices whose last version was given out but never released."""
        released = select(func.max(IssuedRelease.version)).where(IssuedRelease.device == Device.id)
        behind = Device.version > func.coalesce(released.scalar_subquery(), 0)
        with self._transaction() as session:
            return list(session.scalars(select(Device.id).where(behind)))

    def wanted(self, device: str) -> Wanted | None:
        """What to release next for a device; None if its last version is released."""
        done = select(IssuedRelease).where(
            IssuedRelease.device == device, IssuedRelease.version == Device.version
        )
        query = (
            select(Device.bundle, Device.version, Context.samples)
            .join(Context, Context.device == Device.id)
            .where(Device.id == device, ~done.exists())
        )
        with self._transaction() as session:
            row = session.execute(query).one_or_none()
        return None if row is None else Wanted(*row)

    def add_release(self, release: Release, jws: str) -> None:
        """Publish a signed release."""
        issued = IssuedRelease(
            device=release.device,
            version=release.version,
            sha256=release.sha256,
            expires_at=release.expires_at,
            jws=jws,
        )
        with self._transaction.begin() as session:
            session.add(issued)

    def release_after(self, device: str, version: int, now: int) -> str | None:
        """The newest release of a device as JWS, if it is newer than `version` and valid at `now`."""
        query = (
            select(IssuedRelease.jws)
            .where(
                IssuedRelease.device == device,
                IssuedRelease.version > version,
                IssuedRelease.expires_at > now,
            )
            .order_by(IssuedRelease.version.desc())
            .limit(1)
        )
        with self._transaction() as session:
            return session.scalar(query)

    def has_pack(self, device: str, sha256: str) -> bool:
        """Whether a release of this device names this pack."""
        query = select(IssuedRelease.version).where(
            IssuedRelease.device == device, IssuedRelease.sha256 == sha256
        )
        with self._transaction() as session:
            return session.scalar(query.limit(1)) is not None


def _next_versions(session: Session, devices: Any) -> dict[str, int]:
    """Raise the version of the devices (ids, or a query for them) by one and return it."""
    raised = (
        update(Device)
        .where(Device.id.in_(devices))
        .values(version=Device.version + 1)
        .returning(Device.id, Device.version)
        .execution_options(synchronize_session=False)
    )
    return dict(session.execute(raised).tuples().all())


def _make_durable(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def set_pragmas(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")  # a version given out must survive a power loss
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA busy_timeout=30000")
