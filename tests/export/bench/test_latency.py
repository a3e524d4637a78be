import itertools
from pathlib import Path

import pytest
import torch

from mnet.export.bench.isolated import run_isolated
from mnet.export.bench.latency import Bench, Loading, bench_bundle, sizes
from mnet.export.bench.latency_tables import bench_table, plot_benches
from mnet.export.bench.memory import measure_memory
from mnet.export.exporter import export_bundle
from mnet.export.format.bundle import Bundle
from mnet.export.format.errors import BundleError
from mnet.export.format.packs import read_pack
from mnet.export.format.probe import distance
from mnet.export.format.stored_swaps import StoredSwaps
from mnet.export.session import SwapTimes, open_session
from tests.export.ranker import PackFactory, Ranker, ranker_spec


def test_the_stored_probes_are_eager_pytorchs_for_distinct_weights(
    bundle: Bundle, packs: PackFactory
) -> None:
    stored = StoredSwaps.of(bundle)
    assert len(stored.weights) == len(stored.probes) == 200
    for weights, probe in zip(stored.weights, stored.probes, strict=True):
        assert distance(packs.probe(weights), probe) < 1e-6
    heads = [each["head_in.weight"] for each in stored.weights]
    assert not any(torch.equal(one, other) for one, other in itertools.combinations(heads, 2))
    for name, probe, pack in stored.packs_of_one(version=1):
        parameters = read_pack(pack, bundle.manifest).parameters
        moved = [each for each in parameters if torch.equal(parameters[each], bundle.default_weights[each])]
        assert moved == [name]
        assert distance(packs.probe(parameters), probe) < 1e-6


def test_a_bench_reports_what_the_issue_names(bundle: Bundle, tmp_path: Path) -> None:
    steps: list[None] = []
    bench = bench_bundle(bundle, swaps=210, step=lambda: steps.append(None))
    report = bench.report(bundle)
    keys = ["runtime", "target", "model", "machine", "threads", *sizes(bundle), "load", "inference", "swap"]
    assert list(report) == [*keys, "time_to_effect", "memory", "max_error", "output_change"]
    assert report["swap"]["count"] == len(steps) == 210
    assert len(bench.baked_s) == len(bench.control_s) == len(bench.swappable_s) > 1000
    assert len(bench.loadings) == 11
    assert {way: len(seconds) for way, seconds in bench.effects_s.items()} == {"swap": 210, "whole_model": 53}
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
        effects_s={"swap": [2e-4, 1e-4, 3e-4], "whole_model": [1e-3]},
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
    assert report["time_to_effect"] == {"swap_p50_us": 200.0, "whole_model_p50_us": 1000.0}
    assert (report["max_error"], report["output_change"]) == (3e-7, 2.0)


def test_the_sizes_are_those_of_the_files(bundle: Bundle, packs: PackFactory) -> None:
    found = sizes(bundle)
    assert found["program_bytes"] == (bundle.path / bundle.manifest.model.program).stat().st_size
    assert found["generated_bytes"] < found["push_bytes"] < found["generated_bytes"] + 2048
    device = [path for path in bundle.path.iterdir() if path.is_file() and path.name != "manifest.json"]
    assert found["bundle_bytes"] == sum(path.stat().st_size for path in device)


@pytest.mark.parametrize("target", ["android", "onnx", "tflite"])
def test_each_runtime_takes_more_threads_in_a_process_of_its_own(
    target: str, model: Ranker, tmp_path: Path
) -> None:
    made = export_bundle(ranker_spec(model), target, tmp_path / "b")
    one, two = bench_bundle(made, 2), run_isolated(bench_bundle, made, 2, threads=2)
    assert (one.threads, two.threads) == (1, 2)
    assert max(*one.errors, *two.errors) < 1e-4
    header, rows = bench_table([bench.report(made) for bench in (one, two)], ", ")
    assert [title.rpartition(", ")[2] for title in header] == ["", "1 thread", "2 threads"]
    assert {len(row) for row in rows} == {3}


def test_threads_that_cannot_be_are_refused_by_name(bundle: Bundle) -> None:
    open_session(bundle)
    with pytest.raises(
        BundleError, match="one thread pool a process, here of 1: 2 need a process of their own"
    ):
        open_session(bundle, threads=2)


def test_memory_grows_with_the_model_and_with_each_instance(tmp_path: Path) -> None:
    """Two models that differ by 4 MB of items, each in a process of its own."""
    small, large = (
        measure_memory(export_bundle(ranker_spec(Ranker(items=items)), "onnx", tmp_path / str(items)))
        for items in (50, 65_586)
    )
    if small is None or large is None:
        pytest.skip("memory is read from /proc/self/smaps_rollup, which this system lacks")
    table = 4 * 16 * (65_586 - 50)
    for grown in ("first_instance", "further_instance", "constant_instance"):
        assert getattr(large, grown) - getattr(small, grown) > 0.9 * table
    assert small.peak >= small.first_instance > small.further_instance
