"""What swapping costs on this machine: inference compared with constant weights, loading, and the swap itself."""

import gc
import os
import platform
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from mnet.export.bench.memory import Memory
from mnet.export.format.bundle import Bundle, describe_file
from mnet.export.format.errors import BundleError, IntegrityError, Reason
from mnet.export.format.packs import read_pack
from mnet.export.format.probe import distance
from mnet.export.format.stored_swaps import StoredSwaps
from mnet.export.lowering.target import Run
from mnet.export.session import Session, SwapTimes, open_baked, open_session
from mnet.export.targets import find_target, load_program

ROUNDS_PER_SWAP = 50
WARM_UP = 200
# Where the allocator happens to put a model moves its time by some per cent: load all again this often.
SWAPS_PER_LOADING = 20
# What one would do instead is timed after every so many swaps: it leaves the caches cold.
SWAPS_PER_ALTERNATIVE = 4


@dataclass(frozen=True)
class Loading:
    """How long an app's start takes, in seconds: every byte checked, the program loaded and tested, an inference."""

    check_files: float
    load_and_self_test: float
    next_inference: float


@dataclass
class Bench:
    """Raw figures: seconds, one entry a call; errors and changes of the probe, one entry a swap.

    `control_s` is of a second copy of the baked program: its ratio to the first is what noise alone makes.
    `effects_s` are the times from new bytes on the device to the first answer under them, each way with its checks
    and a self-test: `swap`, a push into the session; `whole_model`, a new model file in its place, loaded (ExecuTorch's
    `Module`, an ONNX Runtime session, a LiteRT interpreter); and where weights lie in a file of their own,
    `reload`: the push, with everything loaded again. `threads` is how many an inference may use; `memory` is None
    where it was not measured.
    """

    threads: int = 1
    memory: Memory | None = None

    baked_s: list[float] = field(default_factory=list)
    control_s: list[float] = field(default_factory=list)
    swappable_s: list[float] = field(default_factory=list)
    swaps: list[SwapTimes] = field(default_factory=list)
    loadings: list[Loading] = field(default_factory=list)
    effects_s: dict[str, list[float]] = field(default_factory=partial(defaultdict, list))
    errors: list[float] = field(default_factory=list)
    changes: list[float] = field(default_factory=list)

    def report(self, bundle: Bundle) -> dict[str, Any]:
        """The figures as `mnet bench --json` prints them; `mnet-runner bench` prints the same ones."""
        baked, control, swappable = map(statistics.median, (self.baked_s, self.control_s, self.swappable_s))
        manifest = bundle.manifest
        return {
            "runtime": f"{manifest.runtime.name} {manifest.runtime.version}",
            "target": manifest.target,
            "model": manifest.model.name,
            "machine": machine(),
            "threads": self.threads,
            **sizes(bundle),
            "load": _medians(self.loadings),
            "inference": {
                "baked_p50_us": _micro(baked),
                "swappable_p50_us": _micro(swappable),
                "ratio_p50": round(swappable / baked, 4),
                "control_ratio_p50": round(control / baked, 4),
                "baked": _percentiles(self.baked_s),
                "swappable": _percentiles(self.swappable_s),
            },
            "swap": {
                **_percentiles([swap.total for swap in self.swaps]),
                "count": len(self.swaps),
                "parts": _medians(self.swaps),
            },
            "time_to_effect": {
                f"{way}_p50_us": _micro(statistics.median(seconds)) for way, seconds in self.effects_s.items()
            },
            "memory": self.memory and asdict(self.memory),
            "max_error": max(self.errors),
            "output_change": min(self.changes),
        }


def sizes(bundle: Bundle) -> dict[str, int]:
    """Bytes: of the generated parameters, of one pack with them, of the programs, of all that a phone keeps."""
    manifest = bundle.manifest
    return {
        "generated_bytes": manifest.generated_bytes,
        "push_bytes": len(bundle.default_pack()),
        "program_bytes": manifest.bytes_of(manifest.model.program),
        "baked_program_bytes": manifest.bytes_of(manifest.bench.baked),
        "bundle_bytes": sum(file.size for file in manifest.files.values() if file.role == "device"),
    }


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        named = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    except OSError:
        named = []
    return {
        "processor": named[0] if named else platform.machine(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
    }


def bench_bundle(
    bundle: Bundle, swaps: int, step: Callable[[], None] = lambda: None, threads: int = 1
) -> Bench:
    """Time `swaps` swaps, and inference on all programs in turn after each; calls `step` after each swap.

    A swap is `Session.swap` as a device calls it: reading and checking the pack, binding its weights to the
    program, the self-test, publishing. An inference is `Session.run`. After each swap the probe is compared with
    eager PyTorch's under the same weights. BundleError for a target that this machine only checks.
    """
    if not (target := find_target(bundle.manifest.target)).runs_here:
        raise BundleError(
            f"target {bundle.manifest.target} does not run here ({target.runtime}): its times would mean nothing"
        )
    stored = StoredSwaps.of(bundle)
    first, *others = bundle.golden.inputs
    # Where sizes vary, times are those of the example's.
    inputs = [first, *(each for each in others if [t.shape for t in each] == [t.shape for t in first])]
    bench = Bench(threads)
    for swap in range(swaps):
        if swap % SWAPS_PER_LOADING == 0:
            bench.loadings.append(_time_loading(bundle, threads))
            swappable = open_session(bundle, threads)
            baked, control = open_baked(bundle, threads), open_baked(bundle, threads)
            before = bundle.probe(swappable.run(inputs[0]))
            _time_rounds(Bench(), baked, control, swappable, inputs, WARM_UP)
        pack = stored.pack(swap, version=swap + 1)
        with _no_garbage_collection():
            bench.swaps.append(swappable.swap(pack))
            start = time.perf_counter()
            swappable.run(inputs[0])
            answered = time.perf_counter() - start
            bench.effects_s["swap"].append(bench.swaps[-1].total + answered)
            if swap % SWAPS_PER_ALTERNATIVE == 0:
                _time_alternatives(bench, bundle, pack)
            _time_rounds(bench, baked, control, swappable, inputs, ROUNDS_PER_SWAP)
        after = bundle.probe(swappable.run(inputs[0]))
        bench.errors.append(distance(after, stored.probe(swap)))
        bench.changes.append(distance(after, before))
        before = after
        step()
    return bench


def _time_alternatives(bench: Bench, bundle: Bundle, pack: bytes) -> None:
    """What one would do instead of that swap: further entries of `Bench.effects_s`."""
    manifest, sample = bundle.manifest, bundle.golden.inputs[0]
    load = partial(load_program, threads=bench.threads)
    constant = manifest.model_copy(update={"slots": ()})
    baked = bundle.path / manifest.bench.baked

    def reload() -> Run:
        new = read_pack(pack, manifest)
        return load(bundle.path / manifest.model.program, manifest).bind(new.parameters)

    def whole_model() -> Run:
        if describe_file(baked, "bench") != manifest.files[manifest.bench.baked]:
            raise IntegrityError(Reason.WRONG_HASH, f"{baked} was changed")
        return load(baked, constant).bind({})

    def seconds(prepare: Callable[[], Run]) -> float:
        start = time.perf_counter()
        run = prepare()
        for _ in ("the self-test", "the user"):
            run(sample)
        return time.perf_counter() - start

    bench.effects_s["whole_model"].append(seconds(whole_model))
    program = manifest.model.program
    if any(getattr(slot.binding, "file", program) != program for slot in manifest.slots):
        bench.effects_s["reload"].append(seconds(reload))


def _time_loading(bundle: Bundle, threads: int) -> Loading:
    start = time.perf_counter()
    fresh = Bundle.load(bundle.path)
    checked = time.perf_counter()
    session = open_session(fresh, threads)
    loaded = time.perf_counter()
    session.run(fresh.golden.inputs[0])
    return Loading(checked - start, loaded - checked, time.perf_counter() - loaded)


def _time_rounds(
    bench: Bench,
    baked: Session,
    control: Session,
    swappable: Session,
    inputs: Sequence[tuple[Tensor, ...]],
    rounds: int,
) -> None:
    """Time all on the same inputs one after the other; who goes first, and finds a colder cache, goes round."""
    contenders = [(baked, bench.baked_s), (control, bench.control_s), (swappable, bench.swappable_s)]
    for k in range(rounds):
        sample = inputs[k % len(inputs)]
        contenders.append(contenders.pop(0))
        for session, seconds in contenders:
            start = time.perf_counter()
            session.run(sample)
            seconds.append(time.perf_counter() - start)


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _micro(seconds: float) -> float:
    return round(seconds * 1e6, 2)


def _percentiles(seconds: Sequence[float]) -> dict[str, float]:
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return {f"p{percent}_us": _micro(cuts[percent - 1]) for percent in (50, 90, 99)}


def _medians(times: Sequence[Any]) -> dict[str, float]:
    """The median of each field of some dataclasses of seconds."""
    names = [part.name for part in fields(times[0])]
    return {f"{name}_p50_us": _micro(statistics.median(getattr(t, name) for t in times)) for name in names}
