"""The style of all pictures: what a colour stands for, and what made a picture."""

import re
import sys
from pathlib import Path

import pytest

from mnet import __version__
from mnet.export.bench.latency_tables import bench_table
from mnet.export.bench.pictures import Made, colours, draw_bars, draw_intervals, ordered, picture
from mnet.toolchain.training.evaluate import figure_text


def test_a_name_has_its_colour_wherever_it_stands() -> None:
    one, other = colours(["static", "mine", "metanetwork"]), colours(["metanetwork", "cloud", "static"])
    assert one["static"] == other["static"] == colours(["constant"])["constant"]
    assert one["metanetwork"] == other["metanetwork"] == colours(["swappable"])["swappable"]
    assert len(set(one.values())) == 3
    assert ordered(["cloud", "metanetwork", "popularity", "static", "default pack"]) == [
        *("static", "popularity", "default pack", "metanetwork", "cloud")
    ]


def test_a_picture_says_what_made_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/mnet", "evaluate", "runs/my run"])
    made = Made.now()
    assert made.command == "mnet evaluate 'runs/my run'"
    assert re.fullmatch(rf"mnet {re.escape(__version__)}, \d{{4}}-\d\d-\d\d, .+, \d+ cores, \w+", str(made))
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/jupyter", "notebook"])
    assert Made.now().command == ""
    with picture(tmp_path / "a.png", 2, size=(8, 3)) as panels:
        draw_bars(panels[0][0], ["static", "metanetwork"], [1.0, 2.0], [None, 0.1])
        draw_intervals(panels[0][1], ["metanetwork"], [(100.0, 80.0, 130.0)])
        low, high = panels[0][1].get_xlim()
        assert low < 0 < 130 < high
        assert panels[0][0].get_xlim()[0] == 0
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert [*tmp_path.iterdir()] == [tmp_path / "a.png"]


def test_nothing_is_printed_that_says_nothing() -> None:
    assert figure_text({"mean": 0.119, "std": None}) == figure_text({"mean": 0.119, "std": 1e-6}) == "0.1190"
    assert figure_text({"mean": 0.119, "std": 0.00071}) == "0.1190 ± 0.0007"


def test_what_was_not_timed_has_no_row() -> None:
    percentiles = {f"p{percent}_us": 10.0 for percent in (50, 90, 99)}
    parts = dict.fromkeys(("verify_p50_us", "write_p50_us", "self_test_p50_us", "publish_p50_us"), 1.0)
    bare = {
        **{
            "model": "m",
            "target": "android",
            "runtime": "r",
            "threads": 1,
            "generated_bytes": 1,
            "bundle_bytes": 1,
        },
        "inference": {
            "baked": percentiles,
            "swappable": percentiles,
            "ratio_p50": 1.0,
            "control_ratio_p50": 1.0,
        },
        "swap": {"count": 1, **percentiles, "parts": parts},
        "load": dict.fromkeys(
            ("check_files_p50_us", "load_and_self_test_p50_us", "next_inference_p50_us"), 1.0
        ),
        **{
            "push_bytes": 1,
            "baked_program_bytes": 10,
            "memory": None,
            "max_error": 0.0,
            "output_change": 1.0,
        },
    }
    effect = {"swap_p50_us": 10.0, "whole_model_p50_us": 30.0}
    timed = bare | {"time_to_effect": effect | {"reload_p50_us": 20.0}}
    _, alone = bench_table([bare | {"time_to_effect": effect}], ", ")
    _, beside = bench_table([bare | {"time_to_effect": effect}, timed], ", ")
    assert not [row for row in alone if row[0].startswith("instead: the push")]
    assert all(all(cells) for cells in (*alone, *beside))
    assert [row[1:] for row in beside if row[0].startswith("instead: the push")] == [
        ["not measured", "20 µs (2.0 times the swap)"]
    ]
