"""What swapping costs on this machine: beside the same model with constant weights, loading, and the swap itself."""

import gc
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from torch import Tensor

from export.bundle import Bundle
from export.errors import BundleError
from export.golden import max_abs_error
from export.session import Session, SwapTimes, open_baked, open_session
from export.swaps import StoredSwaps
from export.targets import find_target

ROUNDS_PER_SWAP = 50
WARM_UP = 200
# Where the allocator happens to put a model moves its time by some per cent: load all anew this often.
SWAPS_PER_LOADING = 20


@dataclass(frozen=True)
class Loading:
    """How long an app's start takes, in seconds: every byte checked, the program loaded and tested, an inference."""

    check_files: float
    load_and_self_test: float
    next_inference: float


@dataclass
class Bench:
    """Raw figures: seconds, one entry a call; errors and changes in the output's units, one entry a swap.

    `control_s` is of a second copy of the baked program: its ratio to the first is what noise alone makes.
    """

    baked_s: list[float] = field(default_factory=list)
    control_s: list[float] = field(default_factory=list)
    swappable_s: list[float] = field(default_factory=list)
    swaps: list[SwapTimes] = field(default_factory=list)
    loadings: list[Loading] = field(default_factory=list)
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
            "max_abs_error": max(self.errors),
            "output_change": min(self.changes),
        }


def sizes(bundle: Bundle) -> dict[str, int]:
    """Bytes: of the generated parameters, of one pack with them, of the programs, of all that a phone keeps."""
    manifest = bundle.manifest
    return {
        "generated_bytes": manifest.generated_bytes,
        "push_bytes": len(bundle.default_pack()),
        "program_bytes": manifest.files[manifest.model.program].size,
        "baked_program_bytes": manifest.files[manifest.bench.baked].size,
        "bundle_bytes": sum(file.size for file in manifest.files.values() if file.role == "device"),
    }


def bench_bundle(bundle: Bundle, swaps: int, step: Callable[[], None] = lambda: None) -> Bench:
    """Time `swaps` swaps, and inference on all programs in turn after each; calls `step` after each swap.

    A swap is `Session.swap` as a device calls it: reading and checking the pack, binding its weights to the
    program, the self-test, publishing. An inference is `Session.run`. After each swap the output is compared with
    eager PyTorch's under the same weights. BundleError for a target that this machine only checks.
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
            bench.loadings.append(_time_loading(bundle))
            swappable, baked, control = open_session(bundle), open_baked(bundle), open_baked(bundle)
            before = swappable.run(inputs[0])[0]
            _time_rounds(Bench(), baked, control, swappable, inputs, WARM_UP)
        pack = stored.pack(swap, version=swap + 1)
        with _no_garbage_collection():
            bench.swaps.append(swappable.swap(pack))
            _time_rounds(bench, baked, control, swappable, inputs, ROUNDS_PER_SWAP)
        after = swappable.run(inputs[0])[0]
        bench.errors.append(max_abs_error([after], [stored.output(swap)]))
        bench.changes.append(max_abs_error([after], [before]))
        before = after
        step()
    return bench


def bench_rows(report: dict[str, Any]) -> list[tuple[str, str]]:
    """What a report holds, for people: each figure's name, and its value with its unit."""
    inference, swap = report["inference"], report["swap"]
    parts = (f"{swap['parts'][f'{part.name}_p50_us']:.0f}" for part in fields(SwapTimes))
    started = report["load"]["check_files_p50_us"] + report["load"]["load_and_self_test_p50_us"]
    rows = [
        ("generated parameters", f"{report['generated_bytes']:,} bytes"),
        ("kept on the device", f"{report['bundle_bytes']:,} bytes"),
        ("inference, constant weights: p50 | p90 | p99", f"{_joined(inference['baked'])} µs"),
        ("inference, swappable weights", f"{_joined(inference['swappable'])} µs"),
        ("ratio of the p50", f"{inference['ratio_p50']:.3f}"),
        ("control: constant weights, loaded twice", f"{inference['control_ratio_p50']:.3f}"),
        (f"swap, {swap['count']} times: p50 | p90 | p99", f"{_joined(swap)} µs"),
        ("its verify + write + self-test + publish", f"{' + '.join(parts)} µs"),
        ("load: check files, load, self-test", f"{started / 1000:.1f} ms"),
        ("first inference after that", f"{report['load']['next_inference_p50_us']:.0f} µs"),
        ("one push", f"{report['push_bytes']:,} bytes"),
        ("instead: the whole model", f"{report['baked_program_bytes']:,} bytes, then load"),
    ]
    if tuning := report.get("fine_tuning"):
        spent = tuning["devices"]["1"]["fine_tuning_ms"]
        rows.append(
            (f"instead: {tuning['steps']} steps of fine-tuning, in PyTorch", f"{spent:.0f} ms a user")
        )
    return [
        *rows,
        ("largest error against eager PyTorch", f"{report['max_abs_error']:.1e}"),
        ("least change of the output by a swap", f"{report['output_change']:.1e}"),
    ]


def plot_benches(benches: Sequence[Bench], bundles: Sequence[Bundle], path: Path) -> None:
    """Draw into a PNG file which share of the inferences, and of the swaps, is done within which time."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.2 * len(benches)), layout="constrained")
    for bench, bundle, axes in zip(
        benches, bundles, figure.subplots(len(benches), 2, squeeze=False), strict=True
    ):
        inference, swap = axes
        for label, seconds in (
            ("baked", bench.baked_s),
            ("baked again", bench.control_s),
            ("swappable", bench.swappable_s),
        ):
            inference.ecdf([second * 1e6 for second in seconds], label=label)
        typical = statistics.median(bench.swappable_s) * 1e6
        inference.set(ylabel="share of calls", xlabel="inference, µs", xlim=(typical / 2, typical * 2))
        inference.set_title(f"{bundle.manifest.model.name}, {bundle.manifest.target}")
        inference.legend()
        swap.ecdf([each.total * 1e6 for each in bench.swaps])
        swap.set(ylabel="share of swaps", xlabel="swap: check, self-test, publish; µs", xscale="log")
        for part in axes:
            part.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


def _time_loading(bundle: Bundle) -> Loading:
    start = time.perf_counter()
    fresh = Bundle.load(bundle.path)
    checked = time.perf_counter()
    session = open_session(fresh)
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


def _joined(percentiles: dict[str, float]) -> str:
    return " | ".join(f"{percentiles[f'p{percent}_us']:.0f}" for percent in (50, 90, 99))
