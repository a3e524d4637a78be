"""Where `mnet bench` and `mnet growth` measure."""

from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mnet.export.format.bundle import Bundle


class Place(StrEnum):
    """Here from Python, here in native code, or on the attached phone: in native code, or in the demo app."""

    HOST = "host"
    NATIVE = "native"
    ADB = "adb"
    APP = "app"

    def measure(self, bundle: "Bundle", swaps: int) -> dict[str, Any]:
        """What `Bench.report` holds, as measured there."""
        from mnet.export.bench.latency import bench_bundle
        from mnet.toolchain.attached.app_bench import bench_in_app
        from mnet.toolchain.attached.native_runner import bench_native, bench_on_phone

        if self is Place.HOST:
            return bench_bundle(bundle, swaps).report(bundle)
        return {Place.NATIVE: bench_native, Place.ADB: bench_on_phone, Place.APP: bench_in_app}[self](
            bundle, swaps
        )
