"""Evaluation: the report, the bootstrap, and that a method is tested as it would be used."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from mnet.toolchain.errors import UserError
from mnet.toolchain.tasks.ranking import full_values, ranks
from mnet.toolchain.tasks.recommendation import Recommendation
from mnet.toolchain.training import bootstrap
from mnet.toolchain.training.bootstrap import bootstrap_gain, bootstrap_gains, gain_heading, gain_text
from mnet.toolchain.training.build import load_data
from mnet.toolchain.training.evaluate import evaluate, figure_text, score, seeds_text
from mnet.toolchain.training.run import load_run
from mnet.toolchain.training.scorers import FineTunedScorer, GeneratedScorer
from mnet.toolchain.training.staleness import staleness

QUIET = Console(quiet=True)


def test_the_report_has_every_method_and_the_gain(small_run: Path) -> None:
    report = evaluate([small_run, small_run], QUIET)
    assert set(report["metrics"]) == {
        "static",
        "cloud",
        "distillation",
        "direct",
        "metanetwork",
        "default pack",
        "cohort",
        "fine-tuning",
        "popularity",
    }
    assert report["equal_cost"] == "static"
    assert report["gain"] == report["gain_over_static"]
    for metric, gain in report["gain"]["metanetwork"].items():
        base, ours = (report["metrics"][method][metric]["mean"] for method in ("static", "metanetwork"))
        assert gain["relative"] == pytest.approx(ours / base - 1)
        assert gain["low"] <= gain["relative"] <= gain["high"]
        # The same run twice: there is no spread over seeds.
        assert report["metrics"]["static"][metric]["std"] == 0
    assert "±" not in figure_text(report["metrics"]["static"]["ndcg@10"])
    assert seeds_text(report).endswith("over users and seeds")
    kept = json.loads((small_run / "evaluation.json").read_text())
    assert kept.pop("made")["version"]
    assert kept == report
    assert (small_run / "evaluation.png").is_file()


def test_gains_are_over_the_method_that_the_config_names(small_run: Path, tmp_path: Path) -> None:
    for file in ("facts.json", "checkpoint.safetensors", "metrics.json"):
        (tmp_path / file).write_bytes((small_run / file).read_bytes())
    text = (small_run / "config.yaml").read_text()
    (tmp_path / "config.yaml").write_text(text.replace("equal_cost: static", "equal_cost: distillation"))
    report = evaluate([tmp_path], QUIET, "metanetwork")
    assert set(report["metrics"]) == {"static", "distillation", "metanetwork", "default pack"}
    for section, baseline in (("gain", "distillation"), ("gain_over_static", "static")):
        base, ours = (report["metrics"][name]["ndcg@10"] for name in (baseline, "metanetwork"))
        assert report[section]["metanetwork"]["ndcg@10"]["relative"] == pytest.approx(
            ours["mean"] / base["mean"] - 1
        )
    # One seed: it has no deviation, and nothing says that it had.
    assert base["std"] is None
    assert "±" not in figure_text(base)
    assert seeds_text(report).startswith("one seed (0); intervals of 95 % by paired bootstrap over users")
    (tmp_path / "config.yaml").write_text(text.replace("equal_cost: static", "equal_cost: magic"))
    with pytest.raises(UserError, match="holds no method magic; it has static, "):
        evaluate([tmp_path], QUIET)


def test_runs_of_different_configs_are_not_averaged(small_run: Path, tmp_path: Path) -> None:
    for file in ("config.yaml", "facts.json", "checkpoint.safetensors"):
        (tmp_path / file).write_bytes((small_run / file).read_bytes())
    text = (tmp_path / "config.yaml").read_text()
    (tmp_path / "config.yaml").write_text(text.replace("candidates: 20", "candidates: 21"))
    with pytest.raises(UserError, match="differ in more than the seed"):
        evaluate([small_run, tmp_path], QUIET)


@torch.no_grad()
def test_the_batched_test_is_what_one_device_after_the_other_gets(small_run: Path) -> None:
    run = load_run(small_run)
    task, network = run.task, run.metanetwork
    assert isinstance(task, Recommendation)
    interactions = load_data(run.config)
    windows = task.splits(interactions)
    users, values = score(task, GeneratedScorer(task, network), windows)
    split, refresh = windows.split, task.settings.refresh
    everything = list(range(1, task.n_items + 1))
    wide = replace(task, candidates=task.n_items)
    query = 0
    for user in np.unique(users)[:5]:
        start, begin, end = interactions.offsets[user], split.test[user], split.end[user]
        for row in range(begin, end):
            if (row - begin) % refresh == 0:
                context = task.context(interactions.items[start:row].tolist())
                pack = network.generate(context) if row > start else None
            inputs = wide.device_inputs(interactions.items[start:row].tolist(), everything)
            parameters = pack or {name: value[None] for name, value in network.static().items()}
            logits = network.call(parameters, *(x[None] for x in inputs))[0]
            target = torch.tensor([interactions.items[row]])
            seen = [item - 1 for item in interactions.items[start:row] if item != target]
            logits[:, seen] = -torch.inf
            for metric, value in full_values(ranks(logits, target)).items():
                assert values[metric][query] == pytest.approx(value.item())
            query += 1
    assert query > 20


def test_fine_tuning_is_what_one_device_alone_would_do(small_run: Path) -> None:
    run = load_run(small_run)
    batch = next(iter(run.task.splits(load_data(run.config)).test(3)))
    names = run.static.generated
    together = FineTunedScorer(run.task, run.static, names, 0.05, 2)(batch)
    before = run.task.outputs(run.static, batch)
    assert (together - before).abs().max() > 100 * 1e-4
    optimizer = torch.optim.Adam([run.static.get_parameter(name) for name in names], 0.05)
    for _ in range(2):
        optimizer.zero_grad()
        run.task.own_loss(run.static, batch)[0].backward()
        optimizer.step()
    of_first = slice(0, batch.target.shape[1])
    alone = run.task.outputs(run.static, batch)[of_first]
    torch.testing.assert_close(together[of_first], alone, atol=1e-4, rtol=1e-4)


def test_the_interval_is_over_users_and_paired() -> None:
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(100), 10)
    base = rng.random(1000)
    assert bootstrap_gain(users, base, base * 1.1) == pytest.approx(
        {"kind": "gain", "relative": 0.1, "low": 0.1, "high": 0.1, "p": 2e-4}
    )
    # One user's gain does not become certain because the user has many queries.
    lucky = base + (users == 7) * 5.0
    gain = bootstrap_gain(users, base, lucky)
    assert gain is not None
    assert gain["low"] == 0
    assert gain["high"] > 2 * gain["relative"] > 0


def test_the_interval_is_over_seeds_too() -> None:
    users = np.repeat(np.arange(200), 5)
    base = np.random.default_rng(0).random((3, 1000, 1))
    alike, apart = base * 1.1, base * np.array([1.0, 1.1, 1.2])[:, None, None]
    same, wide = (bootstrap_gains(users, base, ours)[0] for ours in (alike, apart))
    assert same is not None
    assert wide is not None
    assert same["high"] - same["low"] < 1e-9
    # Two of three seeds drawn alike are 4 of 9 resamples: the interval must reach their means.
    assert wide["low"] < 1.05 < wide["relative"] + 1 < 1.15 < 1 + wide["high"]


def test_many_users_take_the_resamples_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    users, base = np.arange(50), np.random.default_rng(0).random(50)
    whole = bootstrap_gain(users, base, base**2)
    monkeypatch.setattr(bootstrap, "COUNTS_BYTES", 1)
    assert bootstrap_gain(users, base, base**2) == pytest.approx(whole)


def test_no_gain_over_a_baseline_that_never_scores() -> None:
    users = np.array([0, 0, 1])
    assert bootstrap_gain(users, np.zeros(3), np.ones(3)) is None
    # One user of two scores: resamples without that user say nothing and are left out.
    gain = bootstrap_gain(users, np.array([1.0, 0.0, 0.0]), np.array([2.0, 0.0, 0.0]))
    assert gain == pytest.approx({"kind": "gain", "relative": 1.0, "low": 1.0, "high": 1.0, "p": 2e-4})


def test_less_error_is_a_gain_and_what_is_no_multiple_is_a_difference() -> None:
    users, error = np.repeat(np.arange(40), 5), np.random.default_rng(0).random(200) + 0.5
    reduced = bootstrap_gain(users, error, 0.8 * error, lower=True)
    assert reduced == pytest.approx(
        {"kind": "error reduction", "relative": 0.2, "low": 0.2, "high": 0.2, "p": 2e-4}
    )
    assert gain_text(reduced) == "+20.0% [+20.0%, +20.0%]"
    assert gain_heading([reduced, None], "static") == "error reduction over static"
    for lower, better in ((False, 0.25), (True, -0.25)):
        gain = bootstrap_gain(users, -error, -error + better, lower=lower)
        assert gain is not None
        assert gain["kind"] == "difference"
        assert [gain[key] for key in ("relative", "low", "high")] == pytest.approx([0.25] * 3)
        assert gain_heading([gain], "static") == "difference to static"
    assert gain_text(gain).startswith("+0.25 [+0.2")


def test_packs_that_serve_longer_are_tested_too(small_run: Path) -> None:
    report = staleness(small_run, [1, 5, 10], QUIET)
    assert [point["refresh"] for point in report["curve"]] == [1, 5, 10]
    evaluation = evaluate([small_run], QUIET, "metanetwork")
    figures = {method: values[report["metric"]]["mean"] for method, values in evaluation["metrics"].items()}
    # Five is what the run was made with; the static model does not care.
    assert report["curve"][1]["value"] == pytest.approx(figures["metanetwork"])
    assert report["static"] == pytest.approx(figures["static"])
    assert len({point["value"] for point in report["curve"]}) == 3
    with pytest.raises(UserError, match="must be a multiple"):
        staleness(small_run, [3], QUIET)
