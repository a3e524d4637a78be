"""The locks that transactions take on devices."""

from collections.abc import Collection

from sqlalchemy import Connection, bindparam, select

from mnet.toolchain.cloud.tables import Device

# Built once: building it costs more than SQLite takes to answer it.
_LOCKED = (
    select(Device.id, Device.version, Device.pending)
    .where(Device.id.in_(bindparam("devices", expanding=True)))
    .order_by(Device.id)
    .with_for_update(key_share=True)
)


def locked_devices(connection: Connection, devices: Collection[str]) -> dict[str, tuple[int, bool]]:
    """Lock those of these devices that are known, in order, so that no two deadlock. Their version and `pending`."""
    rows = connection.execute(_LOCKED, {"devices": list(devices)})
    return {device: (version, pending) for device, version, pending in rows}
