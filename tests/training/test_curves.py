"""Curves: a logger that was killed while it wrote costs its own rows, not the run."""

from pathlib import Path

import pytest

from mnet.toolchain.training.curves import read_curve, write_curves

HEADER = "epoch,loss,ndcg@10,step\n"


def write_log(run: Path, version: int, text: str) -> None:
    folder = run / "fits" / "static" / "curves" / f"version_{version}"
    folder.mkdir(parents=True)
    (folder / "metrics.csv").write_text(text)


@pytest.mark.parametrize("killed", ["", "epoch,lo", HEADER, HEADER + "0,2.5,0.0"])
def test_a_log_that_a_kill_cut_short_leaves_out_what_it_had_not_written(tmp_path: Path, killed: str) -> None:
    write_log(tmp_path, 0, killed)
    write_curves(tmp_path, "ndcg@10")
    write_log(tmp_path, 1, HEADER + "1,2.25,0.125,20\n")
    assert read_curve(tmp_path / "fits" / "static")[["epoch", "loss", "ndcg@10"]].values.tolist() == [
        [1, 2.25, 0.125]
    ]
    write_curves(tmp_path, "ndcg@10")
    assert (tmp_path / "curves.csv").is_file()


def test_what_a_resumed_fit_did_again_counts(tmp_path: Path) -> None:
    write_log(tmp_path, 0, HEADER + "0,3.0,0.1,10\n1,2.5,0.2,20\n")
    write_log(tmp_path, 1, HEADER + "1,2.25,0.125,20\n")
    assert read_curve(tmp_path / "fits" / "static")["ndcg@10"].tolist() == [0.1, 0.125]
