"""Every fault that `mnet faults` knows, on real phones and a real server: it costs time and nothing else."""

import json
from pathlib import Path

from mnet.export.format.bundle import Bundle
from mnet.toolchain.fleet.faults import Outcome, Trial, fault_report, fault_rows, plot_faults
from mnet.toolchain.training.run import load_run


def test_no_fault_costs_more_than_time(tiny_run: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = Bundle.load(tiny_bundle)
    with Trial(load_run(tiny_run), bundle, tmp_path, phones=2, seed=0) as trial:
        outcomes = {fault: trial.outcome(fault) for fault in trial.faults}
        lacks = trial.lacks
    met = {fault: set(outcome.met) for fault, outcome in outcomes.items()}
    for outcome in outcomes.values():
        assert outcome.harmless, outcome
    skipped = {fault for fault, outcome in outcomes.items() if outcome.skipped}
    assert skipped == ({"database restarted", "one of two replicas killed"} if lacks else set())
    if not lacks:
        assert met["database restarted"] == {"accepted", "offline"}
        assert "accepted" in met["one of two replicas killed"]
    for fault in ("none", "cut mid-pack", "slow clients", "clock behind"):
        assert "swapped" in met[fault], fault
    assert met["server killed"] == {"accepted", "offline"}
    assert met["network down"] == {"offline"}
    assert "refused: wrong_hash" in met["corrupt packs"]
    assert "refused: expired" in met["clock ahead"]
    assert {"swapped", "not kept"} <= met["disk full"]
    rows = fault_rows(list(outcomes.values()))
    assert [row[0] for row in rows] == list(trial.faults)
    report = json.loads(json.dumps(fault_report(list(outcomes.values()))))
    assert all(row["met"] or row["skipped"] for row in report)
    plot_faults(list(outcomes.values()), tmp_path / "faults.png")
    assert (tmp_path / "faults.png").stat().st_size > 1000


def test_a_loss_is_told() -> None:
    assert Outcome("none").harmless
    assert not Outcome("none", lost=1).harmless
    assert not Outcome("none", wrong=1).harmless
    assert not Outcome("none", backwards=1).harmless
