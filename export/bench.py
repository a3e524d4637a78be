"""What swapping costs: inference beside the same model with constant weights, and the swap itself."""

import gc
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from export.bundle import Bundle
from export.errors import BundleError
from export.golden import max_abs_error
from export.session import Session, open_baked, open_program, open_session
from export.swaps import StoredSwaps
from export.targets import find_target

PAIRS_PER_SWAP = 50
WARM_UP = 200
# Where the allocator happens to put a model moves its time by some per cent: load both anew this often.
SWAPS_PER_LOADING = 20


@dataclass
class Bench:
    """Raw figures: seconds, one entry a call; errors and changes in the output's units, one entry a swap."""

    baked_s: list[float] = field(default_factory=list)
    swappable_s: list[float] = field(default_factory=list)
    swap_s: list[float] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)
    changes: list[float] = field(default_factory=list)
    bind_s: list[float] = field(default_factory=list)

    def report(self, bundle: Bundle) -> dict[str, object]:
        """The figures as `mnet bench --json` prints them."""
        baked, swappable = statistics.median(self.baked_s), statistics.median(self.swappable_s)
        percentiles = statistics.quantiles(self.swap_s, n=100, method="inclusive")
        manifest = bundle.manifest
        return {
            "runtime": f"{manifest.runtime.name} {manifest.runtime.version}",
            "target": manifest.target,
            "model": manifest.model.name,
            "generated_bytes": manifest.generated_bytes,
            "push_bytes": len(bundle.default_pack()),
            "inference": {
                "baked_p50_us": round(baked * 1e6, 2),
                "swappable_p50_us": round(swappable * 1e6, 2),
                "ratio_p50": round(swappable / baked, 4),
            },
            "swap": {
                "p50_us": round(percentiles[49] * 1e6, 1),
                "p99_us": round(percentiles[98] * 1e6, 1),
                "bind_p50_us": round(statistics.median(self.bind_s) * 1e6, 1),
                "count": len(self.swap_s),
            },
            "max_abs_error": max(self.errors),
            "output_change": min(self.changes),
        }


def bench_bundle(bundle: Bundle, swaps: int, step: Callable[[], None] = lambda: None) -> Bench:
    """Time `swaps` swaps, and inference on both artifacts in turn after each; calls `step` after each swap.

    A swap is `Session.swap` as a device calls it: reading and checking the pack, binding its weights to the
    program, the self-test, publishing; binding, in which the targets differ, is timed by itself too. An inference
    is `Session.run`. After each swap the output is compared with eager PyTorch's under the same weights.
    BundleError for a target that this machine only checks.
    """
    if not (target := find_target(bundle.manifest.target)).runs_here:
        raise BundleError(
            f"target {bundle.manifest.target} does not run here ({target.runtime}): its times would mean nothing"
        )
    stored = StoredSwaps.of(bundle)
    inputs = bundle.golden.inputs
    bench = Bench()
    for swap in range(swaps):
        if swap % SWAPS_PER_LOADING == 0:
            swappable, baked = open_session(bundle), open_baked(bundle)
            before = swappable.run(inputs[0])[0]
            _time_pairs(Bench(), baked, swappable, inputs, WARM_UP)
        pack = stored.pack(swap, version=swap + 1)
        with _no_garbage_collection():
            start = time.perf_counter()
            swappable.swap(pack)
            bench.swap_s.append(time.perf_counter() - start)
            _time_pairs(bench, baked, swappable, inputs, PAIRS_PER_SWAP)
        after = swappable.run(inputs[0])[0]
        bench.errors.append(max_abs_error([after], [stored.output(swap)]))
        bench.changes.append(max_abs_error([after], [before]))
        before = after
        step()
    _time_binding(bench, bundle, stored)
    return bench


def bench_rows(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What `Bench.report` holds, for people: each figure's name, and its value with its unit."""
    inference, swap = report["inference"], report["swap"]
    return [
        ("generated parameters", f"{report['generated_bytes']:,} bytes"),
        ("one push", f"{report['push_bytes']:,} bytes"),
        ("inference p50, constant weights", f"{inference['baked_p50_us']:.1f} µs"),
        ("inference p50, swappable weights", f"{inference['swappable_p50_us']:.1f} µs"),
        ("ratio", f"{inference['ratio_p50']:.3f}"),
        (f"swap p50 | p99 of {swap['count']}", f"{swap['p50_us']:.0f} | {swap['p99_us']:.0f} µs"),
        ("of it, binding the weights, p50", f"{swap['bind_p50_us']:.0f} µs"),
        ("largest error against eager PyTorch", f"{report['max_abs_error']:.1e}"),
        ("least change of the output by a swap", f"{report['output_change']:.1e}"),
    ]


def plot_bench(bench: Bench, path: Path) -> None:
    """Draw into a PNG file which share of the inferences, and of the swaps, is done within which time."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.2), layout="constrained")
    inference, swap = figure.subplots(1, 2)
    for label, seconds in (("baked", bench.baked_s), ("swappable", bench.swappable_s)):
        inference.ecdf([second * 1e6 for second in seconds], label=label)
    typical = statistics.median(bench.swappable_s) * 1e6
    inference.set(title="inference", xlabel="µs", ylabel="share of calls", xlim=(typical / 2, typical * 2))
    inference.legend()
    swap.ecdf([second * 1e6 for second in bench.swap_s])
    swap.set(title="swap: check, self-test, publish", xlabel="µs", ylabel="share of swaps", xscale="log")
    for axes in (inference, swap):
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


def _time_pairs(
    bench: Bench, baked: Session, swappable: Session, inputs: Sequence[tuple[Tensor, ...]], pairs: int
) -> None:
    """Time both on the same inputs back to back; who goes first, and finds a colder cache, alternates."""
    for k in range(pairs):
        sample = inputs[k % len(inputs)]
        order = ((baked, bench.baked_s), (swappable, bench.swappable_s))
        for session, seconds in order if k % 2 else reversed(order):
            start = time.perf_counter()
            session.run(sample)
            seconds.append(time.perf_counter() - start)


def _time_binding(bench: Bench, bundle: Bundle, stored: StoredSwaps) -> None:
    """Bind the stored weights one after the other, as a swap does between its checks; the last one stays bound."""
    program = open_program(bundle)
    for weights in stored.weights:
        with _no_garbage_collection():
            start = time.perf_counter()
            bound = program.bind(weights)
            bench.bind_s.append(time.perf_counter() - start)
    del bound


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
