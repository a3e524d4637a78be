"""`mnet tune`: every method has as many trials, a stopped one resumes, and what it leaves is a config to train."""

import json
import sqlite3
from pathlib import Path

import pytest
from rich.console import Console

from mnet.toolchain.errors import UserError
from mnet.toolchain.training.build import fits
from mnet.toolchain.training.config import load_config
from mnet.toolchain.training.tune import _merged, _Tuning, tune, tune_rows, verdict
from tests.training.test_on_device import config

QUIET = Console(quiet=True)
SMALL = config(
    on_device=[], equal_cost="static", cloud={"model": {"name": "cnn", "width": 8}, "fit": {"epochs": 1}}
)


def test_every_method_has_as_many_trials_and_the_best_are_kept(tmp_path: Path) -> None:
    first = tune(SMALL, tmp_path, 30, 1, QUIET)
    assert {name: row["trials"] for name, row in first["methods"].items()} == {
        "static": 1,
        "cloud": 1,
        "metanetwork": 1,
    }
    assert load_config(str(tmp_path / "best.yaml")) == SMALL, "the first trial is the config as it is"
    # The same call with more trials resumes: none of those that are done is repeated.
    report = tune(SMALL, tmp_path, 30, 3, QUIET)
    with sqlite3.connect(tmp_path / "tune.db") as studies:
        assert studies.execute("select count(*) from trials").fetchone() == (9,)
    best = load_config(str(tmp_path / "best.yaml"))
    for name, row in report["methods"].items():
        assert row["trials"] == 3
        assert row["value"] >= row["first"] == first["methods"][name]["first"]
    assert best.static.learning_rate == report["methods"]["static"]["settings"]["static.learning_rate"]
    assert best.metanetwork.context.settings["width"] in (4, 8, 16)
    assert json.loads((tmp_path / "tune.json").read_text()) == report
    assert [row[:2] for row in tune_rows(report)] == [["static", "3"], ["cloud", "3"], ["metanetwork", "3"]]


@pytest.mark.parametrize(
    ("static", "generated", "equal_cost", "higher", "said"),
    [
        (
            0.2,
            0.21,
            "static",
            True,
            "0.2000 on validation (+5.0 %): generation is ahead; whether that stands",
        ),
        (0.2, 0.2, "static", True, "(+0.0 %): generation from a device's context is worth nothing here"),
        (2.0, 1.9, "static", False, "(+5.0 %): generation is ahead"),
        (2.0, 2.1, "static", False, "(-5.0 %): generation from a device's context is worth nothing"),
        (0.2, 0.21, "label-prior", True, "gains are over label-prior"),
    ],
)
def test_it_says_plainly_whether_generation_is_worth_it(
    static: float, generated: float, equal_cost: str, higher: bool, said: str
) -> None:
    methods = {"static": {"value": static}, "metanetwork": {"value": generated}}
    report = {"methods": methods, "equal_cost": equal_cost, "higher_is_better": higher}
    assert said in verdict(report)
    assert not verdict(report | {"methods": {"static": {"value": static}}})


def test_no_round_starts_that_would_last_longer(tmp_path: Path) -> None:
    report = tune(SMALL, tmp_path, 0, None, QUIET)
    assert {row["trials"] for row in report["methods"].values()} == {1}, "a first round there always is"
    again = tune(SMALL, tmp_path, 0, None, QUIET)
    assert {row["trials"] for row in again["methods"].values()} == {1}
    with pytest.raises(UserError, match="holds trials of another config"):
        tune(config(), tmp_path, 0, None, QUIET)


def test_layers_are_tried_alone_and_world_packs_left_as_they_are(tmp_path: Path) -> None:
    small = load_config(
        "movielens-100k/moving-averages",
        ["data={name: synthetic-drift}", "fine_tuning=null", "metanetwork.context.length=20"],
    )
    assert set(fits(small)) > {"world pack", "early static"}
    tuning = _Tuning.open(small, tmp_path, QUIET)
    assert tuning.layers == ["head_in.weight,head_in.bias", "head_out.weight,head_out.bias"]
    assert tuning.as_it_is("metanetwork")["metanetwork.generated"] is None
    alone = _merged(small, {"metanetwork": {"metanetwork.generated": tuning.layers[1]}})
    assert alone.metanetwork
    assert alone.metanetwork.generated == ("head_out.weight", "head_out.bias")
