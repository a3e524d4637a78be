"""Evaluation: the report, the bootstrap, and that a method is tested as it would be used."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from toolchain.errors import UserError
from toolchain.tasks.ranking import metric_values, ranks
from toolchain.training.build import load_material
from toolchain.training.evaluate import bootstrap_gain, evaluate, score
from toolchain.training.run import load_run
from toolchain.training.scorers import GeneratedScorer

QUIET = Console(quiet=True)


def test_the_report_has_every_method_and_the_gain(small_run: Path) -> None:
    report = evaluate([small_run, small_run], QUIET)
    assert set(report["metrics"]) == {"static", "default pack", "metanetwork"}
    for metric, gain in report["gain"].items():
        base, ours = (report["metrics"][method][metric]["mean"] for method in ("static", "metanetwork"))
        assert gain["relative"] == pytest.approx(ours / base - 1)
        assert gain["low"] <= gain["relative"] <= gain["high"]
        # The same run twice: there is no spread over seeds.
        assert report["metrics"]["static"][metric]["std"] == 0
    assert json.loads((small_run / "evaluation.json").read_text()) == report
    assert (small_run / "evaluation.png").is_file()


def test_runs_of_different_configs_are_not_averaged(small_run: Path, tmp_path: Path) -> None:
    for file in ("config.yaml", "checkpoint.safetensors"):
        (tmp_path / file).write_bytes((small_run / file).read_bytes())
    text = (tmp_path / "config.yaml").read_text()
    (tmp_path / "config.yaml").write_text(text.replace("protocol: rolling", "protocol: leave-one-out"))
    with pytest.raises(UserError, match="differ in more than the seed"):
        evaluate([small_run, tmp_path], QUIET)


@torch.inference_mode()
def test_the_batched_test_is_what_one_device_after_the_other_gets(small_run: Path) -> None:
    run = load_run(small_run)
    data = load_material(run.config)
    users, values = score(GeneratedScorer(run.metanetwork), data.windows)
    split, interactions = data.windows.split, data.interactions
    query = 0
    for user in np.unique(users)[:5]:
        start, begin, end = interactions.offsets[user], split.test[user], split.end[user]
        for row in range(begin, end):
            if (row - begin) % run.config.refresh == 0:
                context = run.task.context(interactions.items[start:row].tolist())
                pack = run.metanetwork.generate(context) if row > start else None
            history = run.task.device_inputs(
                interactions.items[start:row].tolist(), range(1, run.task.candidates + 1)
            )[0]
            hidden = run.metanetwork.device_model.encode(history)[:, -1]
            parameters = pack or {name: value[None] for name, value in run.metanetwork.static().items()}
            with run.metanetwork.under(parameters):
                logits = run.metanetwork.device_model.head(hidden)
            target = torch.tensor([interactions.items[row]])
            seen = [item - 1 for item in interactions.items[start:row] if item != target]
            logits[:, seen] = -torch.inf
            expected = metric_values(ranks(logits, target))
            for metric, value in expected.items():
                assert values[metric][query] == pytest.approx(value.item())
            query += 1
    assert query > 20


def test_the_interval_is_over_users_and_paired() -> None:
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(100), 10)
    base = rng.random(1000)
    assert bootstrap_gain(users, base, base * 1.1) == pytest.approx(
        {"relative": 0.1, "low": 0.1, "high": 0.1}
    )
    # One user's gain does not become certain because the user has many queries.
    lucky = base + (users == 7) * 5.0
    gain = bootstrap_gain(users, base, lucky)
    assert gain["low"] == 0
    assert gain["high"] > 2 * gain["relative"] > 0


def test_no_gain_over_a_baseline_that_never_scores() -> None:
    users = np.array([0, 0, 1])
    assert bootstrap_gain(users, np.zeros(3), np.ones(3)) is None
    # One user of two scores: resamples without that user say nothing and are left out.
    gain = bootstrap_gain(users, np.array([1.0, 0.0, 0.0]), np.array([2.0, 0.0, 0.0]))
    assert gain == pytest.approx({"relative": 1.0, "low": 1.0, "high": 1.0})
