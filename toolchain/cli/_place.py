"""Where `mnet bench` and `mnet growth` measure."""

from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from export.bundle import Bundle


class Place(StrEnum):
    """Here from Python, here in native code, or on the attached phone."""

    HOST = "host"
    NATIVE = "native"
    ADB = "adb"

    def measure(self, bundle: "Bundle", swaps: int) -> dict[str, Any]:
        """What `Bench.report` holds, as measured there."""
        from export.bench import bench_bundle
        from toolchain.fleet.runner import bench_native, bench_on_phone

        if self is Place.HOST:
            return bench_bundle(bundle, swaps).report(bundle)
        return (bench_native if self is Place.NATIVE else bench_on_phone)(bundle, swaps)
