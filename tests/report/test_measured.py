"""The report of figures that commands left behind, on a real run and a real bundle."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from mnet.toolchain.fleet.faults import Outcome, fault_report
from mnet.toolchain.report.frontier import frontier_sections
from mnet.toolchain.report.measured import measured_page
from mnet.toolchain.training.evaluate import evaluate
from tests.cli.test_mistakes import assert_mistake, mnet


def test_a_page_of_a_run_and_a_bundle(tiny_run: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    evaluation = evaluate([tiny_run], Console(quiet=True), "metanetwork")
    (tmp_path / "evaluation.json").write_text(json.dumps(evaluation))
    done = mnet("report", tmp_path, tiny_bundle, "--swaps", "2", "-o", tmp_path / "report.html")
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "report.html").read_text(encoding="utf-8").replace("\u00a0", " ")
    for text in (
        "movielens-100k/sasrec",
        "mnet evaluate RUN",
        "mnet bench BUNDLE",
        "control",
        "one seed (0)",
    ):
        assert text in page
    assert page.count("<svg") == 2
    assert not re.search(r'(src|href)="(?!#)|url\((?!#)', page), "self-contained"


def test_each_kind_of_figures_has_its_section(tmp_path: Path) -> None:
    row = {
        "metric": 0.1,
        "default": 0.08,
        "training_oscillation": 0.01,
        "epochs_to_95": 2,
        "weight_change": 0.03,
        "changed_lists": 0.5,
        "curve": [0.1, 0.2],
    }
    gain = {"kind": "gain", "relative": 0.07, "low": 0.05, "high": 0.09, "p": 0.0002}
    left = {
        "ablation.json": {"metric": "ndcg@10", "variants": {"none": row, "smoothing": row, "all": row}},
        "room.json": {
            "metric": "accuracy",
            "devices": 2,
            "samples": 64,
            "judged": 32,
            "values": {"static": 0.5, "last layer": 0.75},
            "gain": {"last layer": {"points": 12.5, "error": 0.3}},
        },
        "faults.json": fault_report(
            [Outcome("server killed", met=Counter(offline=3), back_s=2.5), Outcome("disk full", wrong=1)]
        ),
        "staleness.json": {
            "metric": "ndcg@10",
            "static": 0.11,
            "curve": [{"refresh": k, "value": 0.12, "gain": gain} for k in (1, 10)],
        },
        "cost.json": {
            "threads": 2,
            "training": {"static": 100.0},
            "adaptation": {
                "steps": 20,
                "devices": {"1": {"generation_ms": 0.5, "fine_tuning_ms": 40.0, "ratio": 80.0}},
            },
        },
        "matrix.json": [{"model": "sasrec", "target": "tflite", "refused": "no such op"}],
        "growth.json": {
            "target": "onnx",
            "runtime": "onnxruntime 1",
            "on": "host",
            "points": [
                {
                    "axis": "batch",
                    "value": value,
                    "binding": None,
                    "baked_p50_us": 5.0 * value,
                    "ratio_p50": 1.01,
                    "control_ratio_p50": 1.0,
                    "swap_p50_us": 900.0,
                    "write_p50_us": 300.0,
                }
                for value in (1, 64)
            ],
            "knees": [{"axis": "batch", "binding": None, "values": [1, 64], "ratio": [], "write": [1]}],
            "rule": [],
        },
    }
    for name, content in left.items():
        (tmp_path / name).write_text(json.dumps(content))
    page = measured_page([tmp_path], [])
    assert [section.command.split()[1] for section in page.sections] == [
        "room",
        "ablate",
        "staleness",
        "faults",
        "cost",
        "matrix",
        "growth",
    ]
    html = page.html().replace("\u00a0", " ")
    assert "all" in re.findall(r">(\w+)</text>", page.sections[1].figures[0])
    for text in (
        "3.00%",
        "<td>0.0800</td>",
        "+12.5 ± 0.3",
        "Phones were harmed by disk full.",
        "<td>3 offline</td>",
        "+7.0% [+5.0%, +9.0%]",
        "40.000 ms",
        "refused: no such op",
        "batch: ratio above 1.05 nowhere",
    ):
        assert text in html


def test_quality_against_cost_is_drawn_for_models_of_one_data_set() -> None:
    def evaluation(model: str, generator: str, static: float, pushed: float) -> dict[str, Any]:
        values = {"static": static, "metanetwork": pushed, "cloud": 0.2, "popularity": 0.01}
        metrics = {method: {"ndcg@10": {"mean": mean, "std": None}} for method, mean in values.items()}
        return {
            "dataset": "films",
            "model": model,
            "generators": [generator],
            "equal_cost": "static",
            "metrics": metrics,
        }

    def bench(generator: str, size: int, us: float) -> dict[str, Any]:
        inference = {"baked_p50_us": us, "swappable_p50_us": us + 1}
        sizes = {"program_bytes": size + 100, "baked_program_bytes": size}
        return {"generator": generator, "target": "android", "inference": inference, **sizes}

    evaluations = [evaluation("small", "a", 0.1, 0.12), evaluation("large", "b", 0.15, 0.16)]
    benches = [bench("a", 1000, 10.0), bench("b", 9000, 50.0)]
    (section,) = frontier_sections(evaluations, [*benches, bench("of no run here", 1, 1.0)])
    assert section.tables[0].rows == [
        ["small", "static", "1,000", "10.0", "0.1000"],
        ["small", "metanetwork", "1,100", "11.0", "0.1200"],
        ["large", "static", "9,000", "50.0", "0.1500"],
        ["large", "metanetwork", "9,100", "51.0", "0.1600"],
    ]
    assert len(section.figures) == 2
    assert not frontier_sections(evaluations, benches[:1]), "one device model is no frontier"


@pytest.mark.parametrize("folder", ["", "none"])
def test_a_folder_without_figures_is_told(tmp_path: Path, folder: str) -> None:
    assert_mistake(mnet("report", tmp_path / folder), "evaluation.json")
