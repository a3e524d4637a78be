"""What devices say that their apps measured, as totals of each release. Nobody vouches for it: all of it is bounded."""

import time
from collections.abc import Mapping

from sqlalchemy import bindparam, insert, select, update

from mnet.toolchain.cloud.database import Database
from mnet.toolchain.cloud.locks import locked_devices
from mnet.toolchain.cloud.tables import IssuedRelease, Measurement
from mnet.toolchain.contract.measurement import METRICS, Totals

_RAISE = (
    update(Measurement)
    .where(
        Measurement.device == bindparam("of"),
        Measurement.bundle == bindparam("running"),
        Measurement.version == bindparam("under"),
        Measurement.metric == bindparam("name"),
    )
    .values({name: bindparam(name) for name in ("count", "sum", "squares", "reported_at")})
)


class Measurements:
    """The totals in one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def keep(self, device: str, bundle: str, totals: Mapping[tuple[int, str], Totals]) -> None:
        """Keep the totals of a device, by version and metric, where their count is larger than what is kept.

        Dropped are those of a version that the device was never given for that bundle, and metrics beyond METRICS.
        """
        of, named = Measurement, sorted({version for version, _ in totals})
        with self._database.writing() as connection:
            if device not in locked_devices(connection, [device]):
                return
            issued = IssuedRelease.device == device, IssuedRelease.bundle == bundle
            versions = select(IssuedRelease.version).where(*issued, IssuedRelease.version.in_(named))
            given = set(connection.scalars(versions))
            known = select(of.version, of.metric, of.count).where(
                of.device == device, of.bundle == bundle, of.version.in_(given)
            )
            counts = {(row.version, row.metric): row[2] for row in connection.execute(known)}
            now = time.time()
            for (version, metric), each in sorted(totals.items()):
                values = {"count": each.count, "sum": each.sum, "squares": each.squares, "reported_at": now}
                before = counts.get((version, metric))
                if before is not None:
                    if each.count > before:
                        key = {"of": device, "running": bundle, "under": version, "name": metric}
                        connection.execute(_RAISE, key | values)
                elif version in given and sum(under == version for under, _ in counts) < METRICS:
                    key = {"device": device, "bundle": bundle, "version": version, "metric": metric}
                    connection.execute(insert(of), key | values)
                    counts[version, metric] = each.count
