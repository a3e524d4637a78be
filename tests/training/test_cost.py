"""What `mnet cost` reports; how quick anything is, no test says."""

import json
from pathlib import Path

import pytest
from rich.console import Console

from mnet.toolchain.training.cost import cost


def test_every_method_is_timed_and_adapting_compared(small_run: Path) -> None:
    report = cost(small_run, 2, Console(quiet=True))
    assert set(report["training"]) == {"static", "cloud", "distillation", "direct", "metanetwork"}
    assert min(report["training"].values()) > 0
    adaptation = report["adaptation"]
    assert adaptation["steps"] in {2**doublings for doublings in range(8)}
    for row in adaptation["devices"].values():
        assert row["ratio"] == pytest.approx(row["fine_tuning_ms"] / row["generation_ms"])
        assert row["ratio"] > 0
    assert json.loads((small_run / "cost.json").read_text())["training"] == report["training"]
