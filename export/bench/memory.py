"""What a bundle's model takes of a device's memory, in resident bytes (RSS) as Linux and Android count them.

Resident bytes come in pages, and an allocator keeps what it was given back: so every reading follows a
`malloc_trim`, in a process that did nothing else, and an instance is the mean of several opened one after the other.
"""

import ctypes
import dataclasses
import gc
from pathlib import Path
from typing import Any

from mnet.export.bench.isolated import run_isolated
from mnet.export.format.bundle import Bundle
from mnet.export.format.stored_swaps import StoredSwaps
from mnet.export.session import open_baked, open_session

INSTANCES = 4
SWAPS = 20
_SELF = Path("/proc/self")


@dataclasses.dataclass(frozen=True)
class Memory:
    """Resident bytes, each beyond what was resident before.

    first_instance: a session that has answered once, and what of its runtime that touched. peak: the most that was
    resident while it was loaded and took `SWAPS` swaps. further_instance, constant_instance: one more session of the
    same bundle, and of the model with constant weights, once the runtime is loaded.
    """

    first_instance: int
    peak: int
    further_instance: int
    constant_instance: int


def measure_memory(bundle: Bundle, threads: int = 1) -> Memory | None:
    """Measure in a process of its own; None on a system without `/proc/self/smaps_rollup`."""
    return run_isolated(_measure, bundle.path, threads) if (_SELF / "smaps_rollup").exists() else None


def _measure(path: Path, threads: int) -> Memory:
    bundle = Bundle.load(path)
    stored, sample = StoredSwaps.of(bundle), bundle.golden.inputs[0]
    packs = [stored.pack(swap, version=swap + 1) for swap in range(SWAPS)]

    def instance(opened: Any) -> Any:
        opened.run(sample)
        return opened

    before = _resident()
    (_SELF / "clear_refs").write_text("5")  # the peak counts from here
    sessions = [instance(open_session(bundle, threads))]
    first = _resident()
    for pack in packs:
        sessions[0].swap(pack)
        sessions[0].run(sample)
    peak = _kilobytes("status", "VmHWM")
    swapped = _resident()
    sessions += [instance(open_session(bundle, threads)) for _ in range(INSTANCES)]
    more = _resident()
    # Not counted: it may be the first to touch some of the runtime's code.
    sessions.append(instance(open_baked(bundle, threads)))
    other = _resident()
    sessions += [instance(open_baked(bundle, threads)) for _ in range(INSTANCES)]
    constant = _resident()
    return Memory(
        first_instance=first - before,
        peak=max(peak, first, swapped) - before,
        further_instance=round((more - swapped) / INSTANCES),
        constant_instance=round((constant - other) / INSTANCES),
    )


def _resident() -> int:
    gc.collect()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):  # glibc's
        trim(0)
    return _kilobytes("smaps_rollup", "Rss")


def _kilobytes(file: str, field: str) -> int:
    """A line such as `Rss:  1692 kB`, in bytes."""
    for line in (_SELF / file).read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    raise KeyError(field)
