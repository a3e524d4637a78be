from pathlib import Path

import torch

from export.bench import Bench, Loading, bench_bundle, plot_benches, sizes
from export.bundle import Bundle
from export.golden import swap_scales, swap_weights
from export.session import SwapTimes
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
    keys = ["runtime", "target", "model", *sizes(bundle), "load", "inference", "swap", "max_abs_error"]
    assert list(report) == [*keys, "output_change"]
    assert report["swap"]["count"] == len(steps) == 210
    assert len(bench.baked_s) == len(bench.control_s) == len(bench.swappable_s) > 1000
    assert len(bench.loadings) == 11
    assert max(bench.errors) < 1e-4
    assert min(bench.changes) > 100 * 1e-4
    plot_benches([bench, bench], [bundle, bundle], tmp_path / "bench.png")
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")


def test_the_figures_are_medians_and_the_worst_of_errors_and_changes(bundle: Bundle) -> None:
    bench = Bench(
        baked_s=[1e-6, 2e-6, 9e-6],
        control_s=[2e-6, 2.5e-6, 9e-6],
        swappable_s=[3e-6, 1e-6, 5e-6],
        swaps=[SwapTimes(verify, 2e-4, 3e-4, 1e-6) for verify in (1e-4, 3e-4, 2e-4)],
        loadings=[Loading(1e-3, 2e-3, 3e-6)],
        errors=[1e-7, 3e-7, 2e-7],
        changes=[4.0, 2.0, 3.0],
    )
    report = bench.report(bundle)
    assert report["inference"]["ratio_p50"] == 1.5
    assert report["inference"]["control_ratio_p50"] == 1.25
    assert report["inference"]["swappable"]["p50_us"] == 3.0
    assert (report["swap"]["p50_us"], report["swap"]["p99_us"]) == (701.0, 799.0)
    assert report["swap"]["parts"] == {
        "verify_p50_us": 200.0,
        "write_p50_us": 200.0,
        "self_test_p50_us": 300.0,
        "publish_p50_us": 1.0,
    }
    assert report["load"]["load_and_self_test_p50_us"] == 2000.0
    assert (report["max_abs_error"], report["output_change"]) == (3e-7, 2.0)


def test_the_sizes_are_those_of_the_files(bundle: Bundle, packs: PackFactory) -> None:
    found = sizes(bundle)
    assert found["program_bytes"] == (bundle.path / bundle.manifest.model.program).stat().st_size
    assert found["generated_bytes"] < found["push_bytes"] < found["generated_bytes"] + 2048
    device = [path for path in bundle.path.iterdir() if path.is_file() and path.name != "manifest.json"]
    assert found["bundle_bytes"] == sum(path.stat().st_size for path in device)
