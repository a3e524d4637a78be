"""A run tested on its exported artifact: the same answers where nothing is rounded, close ones where it is."""

import dataclasses
from pathlib import Path

import pytest
from rich.console import Console

from mnet.export.exporter import export_bundle
from mnet.export.format.bundle import Bundle
from mnet.toolchain.errors import UserError
from mnet.toolchain.training.evaluate_bundle import evaluate_bundle
from mnet.toolchain.training.export_run import export_spec
from mnet.toolchain.training.run import load_run

QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def bundle(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The run for Android; 80 items go through its 20 candidates in four inferences."""
    spec = export_spec(load_run(small_run))
    return export_bundle(spec, "android", tmp_path_factory.mktemp("served") / "bundle")


def test_an_fp32_artifact_answers_as_eager_does(small_run: Path, bundle: Bundle) -> None:
    report = evaluate_bundle(small_run, bundle, 0, QUIET)
    assert report["queries"] > report["packs"] > 60
    assert report["refused"] == 0
    for metric, eager in report["metrics"]["eager"].items():
        assert report["metrics"]["artifact"][metric] == pytest.approx(eager, rel=1e-3)
        assert report["change"][metric]["low"] <= report["change"][metric]["high"]


def test_an_artifact_with_slots_for_the_world_too_answers_as_eager_does(
    world_run: Path, world_bundle: Path
) -> None:
    report = evaluate_bundle(world_run, Bundle.load(world_bundle), 20, QUIET)
    assert report["packs"] > 10
    assert report["refused"] == 0
    for metric, eager in report["metrics"]["eager"].items():
        assert report["metrics"]["artifact"][metric] == pytest.approx(eager, rel=1e-3, abs=1e-3)


def test_it_is_the_pack_of_each_user_that_serves(
    small_run: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were packs not swapped in, the figures would be those of the default pack."""
    import mnet.toolchain.training.evaluate_bundle as served

    whole = evaluate_bundle(small_run, bundle, 0, QUIET)["metrics"]
    monkeypatch.setattr(served._Served, "_swap", lambda *_: None)
    stale = evaluate_bundle(small_run, bundle, 0, QUIET)["metrics"]
    assert stale["eager"] == whole["eager"]
    assert stale["artifact"] != whole["artifact"]


def test_fewer_packs_are_taken_from_all_over_the_test(small_run: Path, tmp_path: Path) -> None:
    spec = dataclasses.replace(export_spec(load_run(small_run)), pack_dtype="int8")
    narrow = export_bundle(spec, "android", tmp_path / "narrow")
    report = evaluate_bundle(small_run, narrow, 30, QUIET)
    assert 15 <= report["packs"] <= 30
    assert report["pack_dtypes"] == ["float32", "int8"]
    assert report["push_bytes"] == len(narrow.default_pack())
    ours, eager = (report["metrics"][method]["sampled-auc"] for method in ("artifact", "eager"))
    assert ours == pytest.approx(eager, rel=0.1)


def test_a_bundle_of_another_checkpoint_is_a_users_mistake(
    small_run: Path, bundle: Bundle, tmp_path: Path
) -> None:
    other = dataclasses.replace(export_spec(load_run(small_run)), metadata={"generator": "0" * 64})
    foreign = export_bundle(other, "android", tmp_path / "foreign")
    with pytest.raises(UserError, match=r"another checkpoint .*: export the run again"):
        evaluate_bundle(small_run, foreign, 1, QUIET)
