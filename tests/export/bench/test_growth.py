"""The sweep of made-up models: on a real runtime, and what is read off its curves."""

import json
from pathlib import Path
from typing import Any

import pytest

from mnet.export.bench.growth import KB, MB, Point, against_the_rule, knees, measure_point, sweep
from mnet.export.bench.growth_tables import COLUMNS, growth_table, knee_lines, plot_growth
from mnet.export.bench.latency import bench_bundle
from mnet.export.format.errors import BundleError
from tests.mnet_command import Mnet

# Rows as `measure_point` makes them, of two bindings: as inputs the ratio grows and one point is noise.
RATIOS = {"input": (1.06, 1.04, 1.2, 2.0), "bytes": (1.01, 1.0, 0.99, 1.02)}
WRITES = {"input": (1.0, 1.0, 2.0, 8.0), "bytes": (20.0, 30.0, 40.0, 50.0)}


def row(binding: str, k: int) -> dict[str, Any]:
    return {
        "axis": "generated",
        "value": (KB, 16 * KB, MB, 16 * MB)[k],
        "binding": binding,
        "generated_bytes": 1,
        "program_bytes": 1,
        "baked_p50_us": 5.0,
        "ratio_p50": RATIOS[binding][k],
        "control_ratio_p50": 1.0,
        "swap_p50_us": 100.0,
        "write_p50_us": WRITES[binding][k],
        "rule": "input" if k < 3 else "bytes",
    }


ROWS = [row(binding, k) for binding in RATIOS for k in range(4)]


def test_a_knee_is_where_a_cost_crosses_its_limit() -> None:
    by_input, by_bytes = knees(ROWS)
    assert by_input["values"] == by_bytes["values"] == [KB, 16 * KB, MB, 16 * MB]
    assert (by_input["ratio"], by_input["write"]) == ([KB, MB, 16 * MB], [16 * MB])
    assert (by_bytes["ratio"], by_bytes["write"]) == ([], by_bytes["values"])
    falling = [row("input", k) | {"axis": "batch", "value": 64 >> 2 * k} for k in (3, 2, 1)]
    (line,) = knee_lines({"knees": knees(falling), "rule": []})
    assert line.startswith("batch, weights by input: ratio above 1.05 up to 4;")


def test_the_rule_is_held_against_what_inputs_cost() -> None:
    found = against_the_rule(ROWS)
    # 1.06 of 5 µs is 0.3 µs, which nobody notices; 1.2 is 1 µs, which the rule must not take.
    assert [each["agrees"] for each in found] == [True, True, False, True]
    lines = knee_lines({"knees": knees(ROWS), "rule": found})
    assert lines[0] == (
        "generated layer, weights by input: ratio above 1.05 at 1 KB, 1 MB, 16 MB; "
        "writing takes longer than an inference from 16 MB on"
    )
    assert lines[1].endswith("ratio above 1.05 nowhere; writing takes longer than an inference everywhere")
    assert lines[2] == "the target's rule agrees with 3 of 4 points"
    assert lines[3] == "it takes input at generated layer 1 MB, where inputs have ratio 1.200 (+1.0 µs)"


@pytest.mark.parametrize(("target", "binding"), [("onnx", None), ("android", "input")])
def test_a_point_is_exported_and_timed_like_any_bundle(
    target: str, binding: str | None, tmp_path: Path
) -> None:
    point = Point("batch", 4, binding)
    assert point in sweep(target)
    found = measure_point(point, target, lambda bundle: bench_bundle(bundle, 2).report(bundle))
    assert found["generated_bytes"] == 64 * KB + 4 * 128
    assert min(found["baked_p50_us"], found["ratio_p50"], found["write_p50_us"]) > 0
    assert found.get("rule") == ("bytes" if target == "android" else None)
    header, (cells,) = growth_table([found])
    assert len(header) == len(cells) == len(COLUMNS) - (0 if binding else 2)
    plot_growth([found, *ROWS], tmp_path / "growth.png")
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")


def test_every_binding_is_swept_and_what_does_not_run_here_is_refused() -> None:
    assert [str(point) for point in sweep("android")][:2] == ["generated 1 KB input", "generated 1 KB bytes"]
    assert len(sweep("android")) == 2 * len(sweep("tflite"))
    with pytest.raises(BundleError, match="target ios does not run here"):
        sweep("ios")


def test_the_command_leaves_table_plot_and_json(
    mnet: Mnet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mnet.export.bench.growth.AXES", {"generated": (KB, 4 * KB)})
    code, out, _ = mnet("growth", "--target", "onnx", "--swaps", 2, "-o", tmp_path)
    assert code == 0
    assert "generated layer" in out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["growth.json", "growth.md", "growth.png"]
    assert json.loads((tmp_path / "growth.json").read_text())["made"]["version"]
    assert mnet("growth", "--target", "onnx", "--on", "native", "-o", tmp_path)[0] == 2
