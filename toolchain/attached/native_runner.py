"""`mnet-runner bench`, the native program of `android_demo/native`, on this machine and on an attached phone."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from mnet.export.bench.latency import machine, sizes
from mnet.export.format.bundle import Bundle
from mnet.export.format.errors import BundleError
from mnet.export.targets import find_target, known_targets
from mnet.toolchain.attached.adb import AttachedPhone
from mnet.toolchain.errors import UserError

# An inference keeps to the thread that calls it.
_THREADS = {"threads": 1}
_BUILDS = Path(__file__).parents[2] / "build"
_ON_PHONE = "/data/local/tmp/mnet"
# What shows whether a phone was free to run at full speed.
_CONDITIONS = {
    "phone": ("getprop", "ro.product.model"),
    "android": ("getprop", "ro.build.version.release"),
    "governor": ("cat", "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
    "thermal": ("dumpsys", "thermalservice"),
}


def bench_native(bundle: Bundle, swaps: int) -> dict[str, Any]:
    """The figures of `mnet.export.bench.latency`, in native code on this machine.

    Raises UserError where the runner is not built, BundleError where it cannot run the bundle.
    """
    check_target(bundle.manifest.target)
    built = _BUILDS / "native" / "mnet-runner"
    runner = built if built.is_file() else shutil.which("mnet-runner")
    if runner is None:
        raise UserError(
            "mnet-runner is not built: run `make native` (Debian: apt install cmake g++ nlohmann-json3-dev)"
        )

    def run(verb: str, *options: str) -> Any:
        command = [str(runner), verb, str(bundle.path), *options, "--json"]
        done = subprocess.run(command, capture_output=True, text=True)  # noqa: S603 (no shell; the words are ours)
        if done.returncode:
            raise BundleError((done.stderr or done.stdout).strip().splitlines()[-1])
        return json.loads(done.stdout)

    figures = run("bench", "--swaps", str(swaps))
    return sizes(bundle) | _THREADS | figures | {"machine": machine(), "memory": run("memory")}


def bench_on_phone(bundle: Bundle, swaps: int) -> dict[str, Any]:
    """The same on the one phone that is attached, with its `conditions` before and after; pins and changes nothing.

    Raises UserError without adb, a phone or a runner built for phones.
    """
    check_target(bundle.manifest.target)
    phone = AttachedPhone.find()
    runner = _BUILDS / "native-android-arm64" / "mnet-runner"
    if not runner.is_file():
        raise UserError(
            f"{runner} is not built: `cmake --preset android-arm64`, see android_demo/native/README.md"
        )
    phone.shell("rm", "-rf", _ON_PHONE)
    phone.shell("mkdir", "-p", _ON_PHONE)
    phone.push(runner, f"{_ON_PHONE}/mnet-runner")
    phone.push(bundle.path, f"{_ON_PHONE}/bundle")
    before = conditions(phone)

    def run(verb: str, *options: str) -> Any:
        return json.loads(
            phone.shell(f"{_ON_PHONE}/mnet-runner", verb, f"{_ON_PHONE}/bundle", *options, "--json")
        )

    figures = run("bench", "--swaps", str(swaps)) | {"memory": run("memory")}
    return sizes(bundle) | _THREADS | figures | {"conditions": {"before": before, "after": conditions(phone)}}


def check_target(target: str) -> None:
    """BundleError for a target that the runner does not run."""
    if not find_target(target).native:
        able = " and ".join(name for name, known in known_targets().items() if known.native)
        raise BundleError(f"mnet-runner runs targets {able}, not {target}")


def conditions(phone: AttachedPhone) -> dict[str, str]:
    """What can be read; Android lets the shell read these, but not on every phone."""
    found = {}
    for name, command in _CONDITIONS.items():
        try:
            text = phone.shell(*command).strip()
        except UserError:
            continue
        status = [line for line in text.splitlines() if "Thermal Status" in line]
        found[name] = (status[0] if status else text.splitlines()[0]).strip() if text else ""
    return found
