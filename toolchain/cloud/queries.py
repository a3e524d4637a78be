"""The ledger's queries, built once: building one costs more than SQLite takes to answer it."""

from typing import Any

from sqlalchemy import BindParameter, ColumnElement, bindparam, case, exists, func, or_, select, true, update
from sqlalchemy.orm import aliased

from mnet.toolchain.cloud.tables import Context, Device, Installation, IssuedRelease, Rollout

# A device asks for its newest release only; the one before it may still be on its way to a slow phone, and is what a
# roll-back brings back.
KEPT_RELEASES = 2
RUNNING = "running"  # a roll-out's state; in any other it is over

_DEVICE: BindParameter[str] = bindparam("device")
_DEVICES: BindParameter[str] = bindparam("devices", expanding=True)
UPLOADED = (
    update(Device)
    .where(Device.id == bindparam("of"))
    .values(
        version=Device.version + 1,
        pending=True,
        wanted_at=bindparam("now"),
        restores=None,
        rollout=None,
        failures=0,
    )
    .returning(Device.version)
)
SET_VERSION = (
    update(Device)
    .where(Device.id == bindparam("of"))
    .values(version=bindparam("version"), restores=None, rollout=None)
)
REPLACE_CONTEXT = (
    update(Context)
    .where(Context.device == bindparam("of"))
    .values(samples=bindparam("samples"), uploaded_at=bindparam("uploaded_at"))
)
_given = aliased(IssuedRelease)
_GIVEN = (
    select(_given.id)
    .where(_given.device == Device.id, _given.bundle == Installation.bundle, _given.version == Device.version)
    .correlate(Device, Installation)  # however deep it stands
    .exists()
)


def owed(*bundles: ColumnElement[bool]) -> ColumnElement[bool]:
    """Whether a device runs a bundle, one for which `bundles` holds, that lacks a release of its version."""
    return exists().where(Installation.device == Device.id, ~_GIVEN, *bundles)


def stands(release: Any) -> ColumnElement[bool]:
    """Whether a release is of no roll-out, or of one that is running."""
    over = select(Rollout.id).where(Rollout.id == release.rollout, Rollout.state != RUNNING)
    return ~over.correlate(release).exists()


_asked_by = aliased(Rollout)  # what asked for the version that a device waits for
# A pushed pack is for one bundle; what else the device runs gets again what it has.
_CONCERNED = _asked_by.pack.is_(None) | (_asked_by.bundle == Installation.bundle)
_RESTORES = case((~_CONCERNED, Device.version - 1), else_=Device.restores)
_restored, _candidate = aliased(IssuedRelease), aliased(IssuedRelease)
# Looked for again at each turn: the roll-out of the one first chosen may be over by now.
_RESTORED_VERSION = (
    select(func.max(_candidate.version))
    .where(
        _candidate.device == Device.id,
        _candidate.bundle == Installation.bundle,
        _candidate.version <= _RESTORES,
        _candidate.jws.is_not(None),
        stands(_candidate),
    )
    .correlate(Device, Installation, _asked_by)
    .scalar_subquery()
)
WANTED = (
    select(
        Device.id,
        Installation.bundle,
        Device.version,
        Context.samples,
        _RESTORES,
        _restored.sha256,
        case((_RESTORES.is_not(None), _restored.rollout), else_=Device.rollout),
        func.coalesce(_restored.shared, False),
        case((_RESTORES.is_(None), _asked_by.pack)),
        case((Device.restores.is_not(None) & _CONCERNED, Device.rollout)),
    )
    .join(Installation, Installation.device == Device.id)
    .outerjoin(Context, Context.device == Device.id)
    .outerjoin(_asked_by, _asked_by.id == Device.rollout)
    .outerjoin(
        _restored,
        (_restored.device == Device.id)
        & (_restored.bundle == Installation.bundle)
        & (_restored.version == _RESTORED_VERSION),
    )
    .where(
        Device.id.in_(_DEVICES),
        Device.pending == true(),
        or_(Device.restores.is_not(None), Context.device.is_not(None), _asked_by.pack.is_not(None)),
        ~_GIVEN,
    )
)
UNRELEASED = (
    select(Device.id)
    .where(Device.pending == true(), Device.wanted_at <= bindparam("before"))
    .where(owed(Installation.bundle.in_(bindparam("bundles", expanding=True))))
    .order_by(Device.rollout.is_not(None), Device.wanted_at)  # what a phone asked for goes before pushes
)
DONE = update(Device).where(Device.id.in_(_DEVICES), ~owed()).values(pending=False, failures=0)
_newer = aliased(IssuedRelease)
FORGET_SUPERSEDED = (
    update(IssuedRelease)
    .where(
        IssuedRelease.device.in_(_DEVICES),
        IssuedRelease.jws.is_not(None),
        select(func.count())
        .where(
            _newer.device == IssuedRelease.device,
            _newer.bundle == IssuedRelease.bundle,
            _newer.version > IssuedRelease.version,
            _newer.jws.is_not(None),
            stands(_newer),
        )
        .scalar_subquery()
        >= KEPT_RELEASES,
    )
    .values(jws=None)
    .returning(IssuedRelease.device, IssuedRelease.sha256)
)
RELEASE_AFTER = (
    select(IssuedRelease.jws)
    .where(
        IssuedRelease.device == _DEVICE,
        IssuedRelease.bundle == bindparam("bundle"),
        IssuedRelease.version > bindparam("after"),
        IssuedRelease.jws.is_not(None),
        stands(IssuedRelease),
    )
    .order_by(IssuedRelease.version.desc())
    .limit(1)
)
PACK_IS_SHARED = (
    select(IssuedRelease.shared)
    .where(
        IssuedRelease.device == _DEVICE,
        IssuedRelease.sha256 == bindparam("sha256"),
        IssuedRelease.jws.is_not(None),
    )
    .limit(1)
)
LAST_PACK = (
    select(IssuedRelease.sha256, IssuedRelease.shared, IssuedRelease.rollout)
    .where(
        IssuedRelease.device == _DEVICE,
        IssuedRelease.bundle == bindparam("bundle"),
        IssuedRelease.jws.is_not(None),
        stands(IssuedRelease),
    )
    .order_by(IssuedRelease.version.desc())
    .limit(1)
)
UPLOADED_AT = (
    select(Device.wanted_at)
    .join(IssuedRelease, (IssuedRelease.device == Device.id) & (IssuedRelease.version == Device.version))
    .where(
        Device.id == _DEVICE,
        Device.version == bindparam("version"),
        IssuedRelease.bundle == bindparam("bundle"),
        IssuedRelease.rollout.is_(None),
        IssuedRelease.held_out.is_(None),
        IssuedRelease.outcome.is_(None),
        Device.restores.is_(None),
    )
)
NEWS = (
    select(IssuedRelease.id, IssuedRelease.device, IssuedRelease.bundle, IssuedRelease.version)
    .where(IssuedRelease.id > bindparam("after"))
    .order_by(IssuedRelease.id)
    .limit(10_000)
)
