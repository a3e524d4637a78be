from pathlib import Path

import torch

from export.bench import Bench, bench_bundle, plot_bench
from export.bundle import Bundle
from export.golden import swap_scales, swap_weights
from tests.export.ranker import PackFactory


def test_the_stored_outputs_are_eager_pytorchs_for_distinct_weights(
    bundle: Bundle, packs: PackFactory
) -> None:
    stored = bundle.tensors(bundle.manifest.bench.swaps)
    assert torch.equal(stored["scale"], swap_scales())
    assert len(stored["scale"].unique()) == len(stored["output"]) == 200
    weights = list(swap_weights(bundle.default_weights, bundle.golden.weights, stored["scale"]))
    for k in (0, 1, 100, 199):
        assert torch.equal(packs.expected(weights[k]), stored["output"][k])


def test_a_bench_reports_what_the_issue_names(bundle: Bundle, tmp_path: Path) -> None:
    steps: list[None] = []
    bench = bench_bundle(bundle, swaps=210, step=lambda: steps.append(None))
    report = bench.report(bundle)
    keys = "runtime target model generated_bytes push_bytes inference swap max_abs_error output_change"
    assert list(report) == keys.split()
    assert report["swap"]["count"] == len(steps) == 210  # type: ignore[index]
    assert len(bench.baked_s) == len(bench.swappable_s) > 1000
    assert max(bench.errors) < 1e-4
    assert min(bench.changes) > 100 * 1e-4
    plot_bench(bench, tmp_path / "bench.png")
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")


def test_the_figures_are_medians_and_the_worst_of_errors_and_changes(bundle: Bundle) -> None:
    bench = Bench(
        [1e-6, 2e-6, 9e-6],
        [3e-6, 1e-6, 5e-6],
        [1e-4, 3e-4, 2e-4],
        [1e-7, 3e-7, 2e-7],
        [4.0, 2.0, 3.0],
        [1e-5, 4e-5, 2e-5],
    )
    report = bench.report(bundle)
    assert report["inference"] == {"baked_p50_us": 2.0, "swappable_p50_us": 3.0, "ratio_p50": 1.5}
    assert report["swap"] == {"p50_us": 200.0, "p99_us": 298.0, "bind_p50_us": 20.0, "count": 3}
    assert (report["max_abs_error"], report["output_change"]) == (3e-7, 2.0)
