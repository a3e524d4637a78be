"""What swapping costs: inference beside the same model with constant weights, and the swap itself."""

import gc
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from export.bundle import Bundle
from export.golden import max_abs_error, swap_weights
from export.packs import probe_values, write_pack
from export.session import Session, open_baked, open_session

PAIRS_PER_SWAP = 25
WARM_UP = 200


@dataclass(frozen=True)
class Bench:
    """Raw figures of one bench: seconds, one entry a call; errors and changes in the units of the output.

    `output_change` is that of the swap that changed the output least.
    """

    baked_s: list[float]
    swappable_s: list[float]
    swap_s: list[float]
    max_abs_error: float
    output_change: float

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
            "inference": {
                "baked_p50_us": round(baked * 1e6, 2),
                "swappable_p50_us": round(swappable * 1e6, 2),
                "ratio_p50": round(swappable / baked, 4),
            },
            "swap": {
                "p50_us": round(percentiles[49] * 1e6, 1),
                "p99_us": round(percentiles[98] * 1e6, 1),
                "count": len(self.swap_s),
            },
            "max_abs_error": self.max_abs_error,
            "output_change": self.output_change,
        }


def bench_bundle(bundle: Bundle, swaps: int, step: Callable[[], None] = lambda: None) -> Bench:
    """Time `swaps` swaps, and inference on both artifacts in turn after each; calls `step` after each swap.

    A swap is `Session.swap` as a device calls it: reading and checking the pack, the self-test, publishing.
    An inference is `Session.run`. After each swap the output is compared with eager PyTorch's under the same
    weights.
    """
    swappable, baked = open_session(bundle), open_baked(bundle)
    expected = bundle.tensors(bundle.manifest.bench.swaps)["output"]
    packs = _packs(bundle, expected)
    inputs = bundle.golden.inputs
    baked_s: list[float] = []
    swappable_s: list[float] = []
    swap_s: list[float] = []
    errors: list[float] = []
    changes: list[float] = []
    before = swappable.run(inputs[0])
    for k in range(WARM_UP):
        _time_pair(baked, swappable, inputs[k % len(inputs)], k % 2 == 0)
    for swap in range(swaps):
        pack = packs(swap)
        with _no_garbage_collection():
            start = time.perf_counter()
            swappable.swap(pack)
            swap_s.append(time.perf_counter() - start)
            for k in range(PAIRS_PER_SWAP):
                pair = _time_pair(baked, swappable, inputs[k % len(inputs)], k % 2 == 0)
                baked_s.append(pair[0])
                swappable_s.append(pair[1])
        after = swappable.run(inputs[0])
        errors.append(max_abs_error(after[:1], [expected[swap % len(expected)]]))
        changes.append(max_abs_error(after[:1], before[:1]))
        before = after
        step()
    return Bench(baked_s, swappable_s, swap_s, max(errors), min(changes))


def plot_bench(bench: Bench, path: Path) -> None:
    """Draw the spread of inference and swap times into a PNG file."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.2), layout="constrained")
    inference, swap = figure.subplots(1, 2)
    for label, seconds in (("baked", bench.baked_s), ("swappable", bench.swappable_s)):
        inference.ecdf([second * 1e6 for second in seconds], label=label)
    slowest = max(statistics.quantiles(bench.swappable_s, n=100)[97], statistics.median(bench.baked_s))
    inference.set(title="Inference", xlabel="µs", ylabel="share of calls", xlim=(None, slowest * 1e6))
    inference.legend()
    swap.hist([second * 1e6 for second in bench.swap_s], bins=40)
    swap.set(title="Swap: check, self-test, publish", xlabel="µs", ylabel="swaps")
    figure.savefig(path, dpi=120)


def _packs(bundle: Bundle, expected: Tensor) -> Callable[[int], bytes]:
    """The pack of swap n. Its weights come round again after as many as the bundle stores outputs for."""
    scales = bundle.tensors(bundle.manifest.bench.swaps)["scale"]
    weights = list(swap_weights(bundle.default_weights, bundle.golden.weights, scales))

    def pack(swap: int) -> bytes:
        k = swap % len(weights)
        probe = probe_values(expected[k])
        return write_pack(weights[k], bundle_id=bundle.id, version=swap + 1, generator="bench", probe=probe)

    return pack


def _time_pair(
    baked: Session, swappable: Session, inputs: tuple[Tensor, ...], baked_first: bool
) -> tuple[float, float]:
    """Seconds of one inference on each, back to back; the caller alternates which goes first."""
    first, second = (baked, swappable) if baked_first else (swappable, baked)
    start = time.perf_counter()
    first.run(inputs)
    middle = time.perf_counter()
    second.run(inputs)
    end = time.perf_counter()
    times = (middle - start, end - middle)
    return times if baked_first else (times[1], times[0])


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
