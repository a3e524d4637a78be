"""The tables of the cloud. A change here needs a migration too, in `migrations/versions`."""

import time
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, Integer, UniqueConstraint, true
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

# SQLite counts up an INTEGER only; its integers have 64 bits anyway.
_LONG = BigInteger().with_variant(Integer, "sqlite")


class Base(DeclarativeBase):
    """Whose metadata the migrations are compared with."""


class Device(Base):
    """One enrolled phone.

    `version` is the number last given out, `pending` says that its release is still to be made, from the
    weights of version `restores` where that is set (0: the bundle's default), else from the context.

    After a restore, `backed_up` is the version that the backup had, and `version` is far above it: what the phone has
    since then can be anything in between.
    """

    __tablename__ = "devices"
    id: Mapped[str] = mapped_column(primary_key=True)
    token_sha256: Mapped[str | None]  # a hash only; None once it is revoked
    bundle: Mapped[str]  # whose releases it is given unless it asks for those of another
    version: Mapped[int] = mapped_column(default=0)
    pending: Mapped[bool] = mapped_column(default=False)
    wanted_at: Mapped[float] = mapped_column(default=0.0)
    restores: Mapped[int | None]
    rollout: Mapped[int | None] = mapped_column(ForeignKey("rollouts.id"))
    enrolled_at: Mapped[float] = mapped_column(default=time.time)
    keys: Mapped[int] = mapped_column(default=0)  # the number of the statement of keys that it has learnt
    cohort: Mapped[str | None]  # the devices that share the packs pushed to them
    failures: Mapped[int] = mapped_column(default=0)  # of tries to make what it waits for
    backed_up: Mapped[int | None]
    raised_at: Mapped[float] = mapped_column(default=0.0)  # when it was last found ahead of the server
    __table_args__ = (
        Index(
            "devices_pending", wanted_at, sqlite_where=pending == true(), postgresql_where=pending == true()
        ),
        Index("devices_rollout", rollout),
        Index("devices_cohort", "cohort"),
    )


class Installation(Base):
    """A bundle that a device runs; each gets its own pack of every version."""

    __tablename__ = "installations"
    device: Mapped[str] = mapped_column(ForeignKey("devices.id"), primary_key=True)
    bundle: Mapped[str] = mapped_column(primary_key=True)


class Context(Base):
    """The last context that a device uploaded; its `samples` are a text where they are sealed (see `sealing`)."""

    __tablename__ = "contexts"
    device: Mapped[str] = mapped_column(ForeignKey("devices.id"), primary_key=True)
    samples: Mapped[list[Any] | str] = mapped_column(JSON)
    uploaded_at: Mapped[float] = mapped_column(index=True)


class IssuedRelease(Base):
    """One signed release. `id` rises in the order of commits; `jws` is None once its pack is deleted.

    `outcome` is what the device reported: "taken", or the name of the reason for which it refused. A `shared` pack is
    stored once for all devices whose releases name it. `held_out` is a roll-out that the device was
    held out of: what it got instead are weights that it had, as a version of its own.
    """

    __tablename__ = "releases"
    id: Mapped[int] = mapped_column(_LONG, primary_key=True, autoincrement=True)
    device: Mapped[str] = mapped_column(ForeignKey("devices.id"))
    bundle: Mapped[str]
    version: Mapped[int]
    sha256: Mapped[str]
    rollout: Mapped[int | None] = mapped_column(ForeignKey("rollouts.id"), index=True)
    issued_at: Mapped[int] = mapped_column(_LONG, index=True)
    expires_at: Mapped[int] = mapped_column(_LONG)
    jws: Mapped[str | None]
    outcome: Mapped[str | None]
    shared: Mapped[bool] = mapped_column(default=False)
    fetched: Mapped[bool] = mapped_column(default=False)  # its pack, by the device
    held_out: Mapped[int | None] = mapped_column(
        ForeignKey("rollouts.id", name="releases_held_out"), index=True
    )
    __table_args__ = (
        UniqueConstraint("device", "bundle", "version", name="one_release_a_version"),
        {"sqlite_autoincrement": True},  # an id is never used again, so that no news is missed
    )


class Measurement(Base):
    """The totals that a device sent of what its app measured under one release."""

    __tablename__ = "measurements"
    device: Mapped[str] = mapped_column(ForeignKey("devices.id"), primary_key=True)
    bundle: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    metric: Mapped[str] = mapped_column(primary_key=True)
    count: Mapped[int]
    sum: Mapped[float]
    squares: Mapped[float]
    reported_at: Mapped[float] = mapped_column(index=True)


class Rollout(Base):
    """An operator's push, to a growing share of some devices: those of a list, of a cohort, or all.

    With a `pack` (its SHA-256), they get that one: all that run its `bundle`, as `version` where theirs is lower, so
    that its bytes are the same for all. Without, each gets new weights from its last context, if it has one.

    The row is what is wanted; the service brings the fleet there, some devices at a time: `asked` is the percentage of
    which every device has been asked for, `cursor` the last device that was looked at on the way from there to
    `percent`, or on the way back, and `reached` how many devices were asked for.

    `hold_out` percent of the devices that it reaches get what they had (`held_on` "previous") or the default weights
    instead. Where a `metric` is surely worse by more than `stop_below` (negative) than theirs, the roll-out stops.

    `proposed` is a larger percentage that an operator, `proposed_by`, wants and a second one has to approve.
    """

    __tablename__ = "rollouts"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    devices: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))
    cohort: Mapped[str | None]
    pack: Mapped[str | None]
    bundle: Mapped[str | None]
    version: Mapped[int | None]
    percent: Mapped[float]
    asked: Mapped[float] = mapped_column(default=0.0)
    cursor: Mapped[str | None]
    reached: Mapped[int] = mapped_column(default=0)
    proposed: Mapped[float | None]
    proposed_by: Mapped[str | None]
    stop_above: Mapped[float]
    hold_out: Mapped[float] = mapped_column(default=0.0)
    held_on: Mapped[str] = mapped_column(default="previous")
    metric: Mapped[str | None]
    stop_below: Mapped[float | None]
    state: Mapped[str] = mapped_column(index=True)
    started_at: Mapped[float] = mapped_column(default=time.time)


class AuditEntry(Base):
    """Something that an operator, a device or the server did to the fleet; `operator` is the name of who did it.

    Entries of a `chain` (see `AuditChain`) hold the `hash` of their content and of the `previous` entry's hash.
    """

    __tablename__ = "audit"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    at: Mapped[float] = mapped_column(default=time.time)
    actor: Mapped[str]
    operator: Mapped[str | None]
    action: Mapped[str]
    detail: Mapped[dict[str, Any]] = mapped_column(JSON)
    chain: Mapped[str]
    previous: Mapped[str]
    hash: Mapped[str]
    __table_args__ = (Index("audit_chain_id", "chain", "id"),)


class AuditChain(Base):
    """Entries of the audit log that are kept for the same time: the hash of the newest (`head`), and of the last one
    that was deleted for its age (`pruned`), which the oldest kept one names as its previous.
    """

    __tablename__ = "audit_chains"
    name: Mapped[str] = mapped_column(primary_key=True)
    head: Mapped[str]
    pruned: Mapped[str]


class NamedOperator(Base):
    """A person who may do what operators do, by a key of their own, of which a hash is kept."""

    __tablename__ = "operators"
    name: Mapped[str] = mapped_column(primary_key=True)
    key_sha256: Mapped[str] = mapped_column(unique=True)
    added_at: Mapped[float] = mapped_column(default=time.time)


class Fact(Base):
    """Something that the database knows of itself."""

    __tablename__ = "facts"
    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]


class UsedPermission(Base):
    """A permission of an app's own back end by which a device enrolled, until it expires."""

    __tablename__ = "used_permissions"
    id: Mapped[str] = mapped_column(primary_key=True)
    expires_at: Mapped[float] = mapped_column(index=True)
