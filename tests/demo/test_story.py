"""The demo, small but whole: real processes, the real runtime, and a report that says what happened."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from mnet.toolchain.cli.app import main
from mnet.toolchain.demo.findings import VERSIONS, Findings
from mnet.toolchain.demo.page import _headline, demo_page
from mnet.toolchain.demo.story import tell
from mnet.toolchain.errors import UserError
from mnet.toolchain.fleet.processes import ServerProcess, SimulateProcess
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


def test_a_phone_that_dies_leaves_a_report_of_what_was_done_and_a_way_to_resume(
    story: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Dying(SimulateProcess):
        """The second process of phones is killed at once."""

        def __init__(
            self, server: ServerProcess, run: Path, bundle: Path, log: Path, skip: int, devices: int
        ) -> None:
            super().__init__(server, run, bundle, log, skip, devices)
            if skip:
                self.process.kill()

    out = shutil.copytree(story, tmp_path / "demo")
    monkeypatch.setattr("mnet.toolchain.demo.story.SimulateProcess", Dying)
    config = load_run(out / "run").config
    with pytest.raises(UserError, match=r"ended with -9 .* rerun the same command to resume"):
        tell(config, out, devices=4, console=Console(quiet=True))
    report = json.loads((out / "report.json").read_text())
    assert 1 <= report["devices"] <= 2
    assert "interrupted" in report["note"]
    assert report["note"] in (out / "report.html").read_text()


def test_headlines_claim_no_more_than_the_figures() -> None:
    def page(low: float, quick: bool = False) -> str:
        gain = {"kind": "gain", "relative": 0.1, "low": low, "high": 0.3, "p": 0.1}
        return _headline({"quick": quick, "devices": 8, "quality": {"after the drift": {"gain": gain}}})

    assert page(0.02) == "The model follows its user"
    assert page(-0.02) == "8 phones show no gain after the drift"
    assert page(0.02, quick=True) == "The whole loop runs on this machine"


def test_phones_that_were_interrupted_before_the_drift_leave_a_report_too(story: Path) -> None:
    step = np.tile([-4, -3, -2, -1], 2)
    values = dict.fromkeys(VERSIONS, np.full(len(step), 0.2))
    found = Findings(np.arange(len(step)) // 4, step, "ndcg@10", values, [200.0], [30.0], 9256)
    known = json.loads((story / "report.json").read_text())
    assert [*found.report()["quality"]] == ["before the drift"]
    assert "interactions since the drift" in demo_page({**known, **found.report()}, None, found).html()


@pytest.mark.parametrize("users", [1, 2])
def test_one_phone_claims_nothing(story: Path, users: int) -> None:
    step = np.tile([-2, -1, 0, 1], users)
    values = {name: np.full(len(step), 0.2 + 0.1 * (name == "live")) for name in VERSIONS}
    found = Findings(np.arange(len(step)) // 4, step, "ndcg@10", values, [200.0], [30.0], 9256)
    known = json.loads((story / "report.json").read_text())
    page = demo_page({**known, **found.report(), "quick": False}, None, found)
    assert (page.title == "The whole loop runs on this machine") == (users == 1)
    assert ("Nothing is claimed" in page.answers[0].text) == (users == 1)
    assert all((quality["gain"] is None) == (users == 1) for quality in found.report()["quality"].values())
    assert [answer.question for answer in page.answers] == [
        *("What was gained?", "What does it cost?", "Is it safe?")
    ]
    assert page.html()
