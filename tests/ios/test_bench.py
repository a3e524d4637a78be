"""The bench of an app in Swift, on the real runtime: the figures of every bench, which `mnet report` reads."""

import base64
import json
from pathlib import Path

import pytest

from ios.hosttest.judge import Judge
from mnet.export.bench.latency import sizes
from mnet.export.bench.latency_tables import bench_rows
from mnet.export.format.bundle import Bundle
from mnet.export.format.stored_swaps import StoredSwaps
from mnet.toolchain.report.measured import measured_page
from tests.ios.conftest import VECTORS

SWAPS = 5


@pytest.mark.parametrize("name", ["ranker", "convnet"])
def test_the_bench_of_an_app_gives_the_figures_of_every_bench(
    name: str, judge: Judge, tmp_path: Path
) -> None:
    bundle = Bundle.load(VECTORS / "exported" / name)
    swaps = StoredSwaps.of(bundle)
    packs = [base64.b64encode(swaps.pack(version - 1, version)).decode() for version in (1, 2, 3)]
    figures = judge.ask(do="bench", bundle=name, packs=packs, swaps=SWAPS)
    assert figures["max_error"] <= bundle.manifest.golden.tolerance < figures["output_change"]
    stated = sizes(bundle)
    assert abs(figures["push_bytes"] - stated["push_bytes"]) < 256  # the digits of its probe
    assert {each: figures[each] for each in stated} == stated | {"push_bytes": figures["push_bytes"]}
    assert figures["swap"]["count"] == SWAPS
    assert figures["memory"]["peak"] >= figures["memory"]["first_instance"] >= 0
    rows = dict(bench_rows(figures))
    assert f"swap, {SWAPS} times: p50 | p90 | p99" in rows
    assert "resident: first instance | its peak while swapping" in rows
    (tmp_path / "bench.json").write_text(json.dumps([figures]))
    page = measured_page([tmp_path], []).html()
    assert figures["runtime"] in page
    assert rows["ratio of the p50"] in page
