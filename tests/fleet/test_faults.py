"""Every fault that `mnet faults` knows, on real phones and a real server: it costs time and nothing else."""

import json
from pathlib import Path

from mnet.toolchain.fleet.faults import Outcome, fault_rows, read_outcomes
from tests.mnet_command import Mnet


def test_no_fault_costs_more_than_time(mnet: Mnet, tiny_run: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    code, out, _ = mnet("faults", tiny_run, "-b", tiny_bundle, "-o", tmp_path, "--phones", 2, "--json")
    report = json.loads(out)
    assert code == 0, report
    kept = json.loads((tmp_path / "faults.json").read_text())
    assert all(row.pop("made")["version"] for row in kept)
    assert kept == report
    met = {row["fault"]: set(row["met"]) for row in report}
    assert all(row["met"] or row["skipped"] for row in report)
    skipped = {row["fault"] for row in report if row["skipped"]}
    assert skipped in (set(), {"database restarted", "one of two replicas killed"})
    if not skipped:
        assert met["database restarted"] == {"accepted", "offline"}
        assert "accepted" in met["one of two replicas killed"]
    for fault in ("none", "cut mid-pack", "slow clients", "clock behind"):
        assert "swapped" in met[fault], fault
    assert met["server killed"] == {"accepted", "offline"}
    assert met["network down"] == {"offline"}
    assert "refused: wrong_hash" in met["corrupt packs"]
    assert "refused: expired" in met["clock ahead"]
    assert {"swapped", "not kept"} <= met["disk full"]
    assert [row[0] for row in fault_rows(read_outcomes(report))] == list(met)
    assert (tmp_path / "faults.png").stat().st_size > 1000


def test_a_loss_is_told() -> None:
    assert Outcome("none").harmless
    assert not Outcome("none", lost=1).harmless
    assert not Outcome("none", wrong=1).harmless
    assert not Outcome("none", backwards=1).harmless
