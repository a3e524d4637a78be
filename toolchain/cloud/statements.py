"""The ledger's statements, built once: building one costs more than SQLite takes to answer it."""

from sqlalchemy import BindParameter, bindparam, exists, func, or_, select, true, update
from sqlalchemy.orm import aliased

from toolchain.cloud.tables import Context, Device, Installation, IssuedRelease, Rollout

# A device asks for its newest release only; the one before it may still be on its way to a slow phone, and is what a
# roll-back brings back.
KEPT_RELEASES = 2
STOPPED = "stopped"  # a roll-out's state

_DEVICE: BindParameter[str] = bindparam("device")
_DEVICES: BindParameter[str] = bindparam("devices", expanding=True)
UPLOADED = (
    update(Device)
    .where(Device.id == bindparam("of"))
    .values(version=Device.version + 1, pending=True, wanted_at=bindparam("now"), restores=None, rollout=None)
    .returning(Device.version)
)
ADOPTED = (
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
_NOT_GIVEN = ~(
    select(_given.id)
    .where(_given.device == Device.id, _given.bundle == Installation.bundle, _given.version == Device.version)
    .correlate(Device, Installation)  # however deep it stands
    .exists()
)
_restored = aliased(IssuedRelease)
WANTED = (
    select(
        Device.id,
        Installation.bundle,
        Device.version,
        Context.samples,
        Device.restores,
        _restored.sha256,
        Device.rollout,
    )
    .join(Installation, Installation.device == Device.id)
    .outerjoin(Context, Context.device == Device.id)
    .outerjoin(
        _restored,
        (_restored.device == Device.id)
        & (_restored.bundle == Installation.bundle)
        & (_restored.version == Device.restores)
        & _restored.jws.is_not(None),
    )
    .where(
        Device.id.in_(_DEVICES),
        Device.pending == true(),
        or_(Device.restores.is_not(None), Context.device.is_not(None)),
        _NOT_GIVEN,
    )
)
UNRELEASED = (
    select(Device.id)
    .where(Device.pending == true(), Device.wanted_at <= bindparam("before"))
    .where(
        exists().where(
            Installation.device == Device.id,
            Installation.bundle.in_(bindparam("bundles", expanding=True)),
            _NOT_GIVEN,
        )
    )
    .order_by(Device.wanted_at)
)
DONE = (
    update(Device)
    .where(Device.id.in_(_DEVICES), ~exists().where(Installation.device == Device.id, _NOT_GIVEN))
    .values(pending=False)
)
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
        IssuedRelease.expires_at > bindparam("now"),
        ~exists().where(Rollout.id == IssuedRelease.rollout, Rollout.state == STOPPED),
    )
    .order_by(IssuedRelease.version.desc())
    .limit(1)
)
HAS_PACK = (
    select(IssuedRelease.version)
    .where(
        IssuedRelease.device == _DEVICE,
        IssuedRelease.sha256 == bindparam("sha256"),
        IssuedRelease.jws.is_not(None),
    )
    .limit(1)
)
NEWS = (
    select(IssuedRelease.id, IssuedRelease.device, IssuedRelease.bundle, IssuedRelease.version)
    .where(IssuedRelease.id > bindparam("after"))
    .order_by(IssuedRelease.id)
    .limit(10_000)
)
