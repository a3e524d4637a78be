"""The locks that transactions take on devices."""

from collections.abc import Collection

from sqlalchemy import Connection, select

from mnet.toolchain.cloud.tables import Device


def locked_devices(connection: Connection, devices: Collection[str]) -> dict[str, tuple[int, bool]]:
    """Lock those of these devices that are known, in order, so that no two deadlock. Their version and `pending`."""
    query = (
        select(Device.id, Device.version, Device.pending).where(Device.id.in_(devices)).order_by(Device.id)
    )
    rows = connection.execute(query.with_for_update(key_share=True))
    return {device: (version, pending) for device, version, pending in rows}
