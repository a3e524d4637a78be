"""The demo, small but whole: real processes, the real runtime, and a report that says what happened."""

import json
import sys
from pathlib import Path

import pytest

from mnet.toolchain.cli.app import main
from mnet.toolchain.training.run import load_run


@pytest.fixture(scope="module")
def story(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demo")
    config = load_run(tiny_run).config
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mnet.toolchain.cli.demo.read_settings", lambda *_: config)
        patch.setattr(sys, "argv", ["mnet", "demo", "--users", "3", "--out", str(out)])
        with pytest.raises(SystemExit) as ended:
            main()
    assert not ended.value.code
    return out


def test_the_report_holds_every_figure(story: Path) -> None:
    report = json.loads((story / "report.json").read_text())
    assert report["devices"] == 3
    assert report["push"]["count"] >= 3
    assert report["push"]["payload_bytes"] > report["bench"]["generated_bytes"]
    assert 0 < report["push"]["upload_to_swap_ms"]["p50"] <= report["push"]["upload_to_swap_ms"]["p99"]
    assert report["bench"]["output_change"] > 100 * report["bench"]["max_error"]
    for quality in report["quality"].values():
        assert all(0 <= quality[version] <= 1 for version in ("static", "default", "first", "live"))


def test_the_page_needs_nothing_from_elsewhere(story: Path) -> None:
    page = (story / "report.html").read_text()
    assert "<svg" in page
    for outside in ("<script", "<link", "src=", "@import", "url(http"):
        assert outside not in page
