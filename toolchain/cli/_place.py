"""Where `mnet bench` and `mnet growth` measure."""

from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mnet.export.format.bundle import Bundle


class Place(StrEnum):
    """Here from Python, here in native code, or on the attached phone."""

    HOST = "host"
    NATIVE = "native"
    ADB = "adb"

    def measure(self, bundle: "Bundle", swaps: int) -> dict[str, Any]:
        """What `Bench.report` holds, as measured there."""
        from mnet.export.bench.latency import bench_bundle
        from mnet.toolchain.attached.native_runner import bench_native, bench_on_phone

        if self is Place.HOST:
            return bench_bundle(bundle, swaps).report(bundle)
        return (bench_native if self is Place.NATIVE else bench_on_phone)(bundle, swaps)
