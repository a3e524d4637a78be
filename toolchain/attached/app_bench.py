"""`mnet bench --on app`: the demo app on an attached phone measures a bundle in its own process."""

import json
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from mnet.export.bench.latency import sizes
from mnet.export.format.bundle import Bundle
from mnet.export.format.errors import BundleError
from mnet.export.format.stored_swaps import StoredSwaps
from mnet.toolchain.attached.adb import AttachedPhone
from mnet.toolchain.attached.android_app import APP
from mnet.toolchain.attached.native_runner import conditions
from mnet.toolchain.errors import UserError

INSTRUMENTATION = f"{APP}/.BenchInstrumentation"
PACKS = 20
_ENDED = re.compile(r"INSTRUMENTATION_CODE: -1\b")
_REFUSAL = re.compile(r"INSTRUMENTATION_RESULT: refusal=(.*)")


def bench_in_app(bundle: Bundle, swaps: int) -> dict[str, Any]:
    """The figures of `mnet.export.bench.latency` but for memory, with the phone's conditions before and after.

    Raises UserError without adb, a phone or a debuggable demo app on it, and where the app cannot run the bundle.
    """
    if bundle.manifest.target != "android":
        raise BundleError(f"the demo app runs bundles of target android, not {bundle.manifest.target}")
    phone = AttachedPhone.find()
    with tempfile.TemporaryDirectory() as scratch:
        packs, sent = Path(scratch) / "packs", Path(scratch) / "bundle"
        write_packs(bundle, packs)
        shutil.copytree(bundle.path, sent)
        phone.give(APP, "bench", sent, packs)
    before = conditions(phone)
    printed = phone.shell("am", "instrument", "-w", "-e", "swaps", str(swaps), INSTRUMENTATION)
    if not _ENDED.search(printed):
        refusal = _REFUSAL.search(printed)
        reason = refusal[1] if refusal else " ".join(printed.split())
        raise UserError(f"the app on {phone.name} did not measure: {reason}")
    figures = json.loads(phone.shell("run-as", APP, "cat", "files/bench/report.json"))
    return app_report(bundle, figures) | {"conditions": {"before": before, "after": conditions(phone)}}


def write_packs(bundle: Bundle, folder: Path) -> None:
    """Packs of the versions 1, 2, … for the app to swap in."""
    folder.mkdir()
    swaps = StoredSwaps.of(bundle)
    for version in range(1, PACKS + 1):
        (folder / f"{version}.pack").write_bytes(swaps.pack(version - 1, version))


def app_report(bundle: Bundle, figures: dict[str, Any]) -> dict[str, Any]:
    """What the app wrote, with what only the exporter knows."""
    runtime = bundle.manifest.runtime
    named = {"runtime": f"{runtime.name}, in the app", "model": bundle.manifest.model.name, "threads": 1}
    return named | sizes(bundle) | figures | {"memory": None}
