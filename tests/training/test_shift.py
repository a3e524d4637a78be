"""The fit of the policy `shift`, and the table of all policies."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from rich.console import Console

from mnet.toolchain.metanetwork import MetaNetwork
from mnet.toolchain.metanetwork.context_sets import SampleSet
from mnet.toolchain.settings import Part
from mnet.toolchain.tasks import Samples
from mnet.toolchain.tasks.recommendation import Recommendation
from mnet.toolchain.tasks.supervised import SupervisedSettings
from mnet.toolchain.training import shift
from mnet.toolchain.training.compare_policies import policies, policy_rows
from mnet.toolchain.training.run import POLICY, load_run, read_policy
from mnet.toolchain.training.shift import NoShiftError, fit_shift, served_by
from tests.mnet_command import Mnet
from tests.training.sensors import Linear, NextReading

DEVICE = np.array([0, 0, 0, 0, 1, 1, 1])
KNOWN = np.array([False, True, True, True, True, True, True])


def test_weights_serve_until_the_phone_asks_again() -> None:
    assert served_by(lambda now, last: True, DEVICE, KNOWN).tolist() == [-1, 1, 2, 3, 4, 5, 6]
    assert served_by(lambda now, last: False, DEVICE, KNOWN).tolist() == [-1] * 7
    every_two = served_by(lambda now, last: last < 0 or now - last >= 2, DEVICE, KNOWN)
    assert every_two.tolist() == [-1, 1, 1, 3, 4, 4, 6]


def test_the_map_finds_what_the_vectors_depend_on() -> None:
    generator = torch.Generator().manual_seed(0)
    averages = torch.randn(500, 12, generator=generator)
    hidden = averages[:, :2] @ torch.randn(2, 20, generator=generator)
    projection, error = shift._low_rank(averages, hidden + 5)
    assert error < 1e-3 * float(hidden.square().sum())
    # As far as the vectors are from each other, so far are the statistics.
    statistics = averages @ projection
    for a, b in ((0, 1), (2, 3), (10, 400)):
        expected = float((hidden[a] - hidden[b]).square().sum())
        assert float((statistics[a] - statistics[b]).square().sum()) == pytest.approx(expected, rel=0.02)


def _asked(fitted_on: int, phones: int, chances: int, seed: int = 0) -> NDArray[np.bool_]:
    """At which of their chances phones ask under the threshold that is found with the first of them.

    bool [phones, chances]. Some phones are livelier than others by far.
    """
    generator = torch.Generator().manual_seed(seed)
    pace = torch.rand(phones, 1, 1, generator=generator)
    walks = (pace * torch.randn(phones, chances, 3, generator=generator)).cumsum(dim=1).flatten(0, 1)
    device, known = np.arange(phones * chances) // chances, np.ones(phones * chances, dtype=bool)
    seen = slice(fitted_on * chances)
    threshold = shift._threshold(walks[seen], device[seen], known[seen])
    assert threshold is not None
    asked = served_by(shift.asks_by_shift(walks.numpy(), threshold), device, known) == np.arange(len(device))
    return asked.reshape(phones, chances)


def test_the_threshold_meets_the_share() -> None:
    assert shift.SHARE - 0.02 < _asked(fitted_on=1000, phones=1000, chances=50).mean() < shift.SHARE


def test_a_fit_to_few_phones_leaves_room_for_chance() -> None:
    drawn = [_asked(fitted_on=20, phones=300, chances=20, seed=seed) for seed in range(20)]
    assert np.mean([asked[:20].mean() for asked in drawn]) < shift.SHARE - 0.02
    assert sum(asked[20:].mean() < shift.SHARE for asked in drawn) >= 17


def test_phones_with_few_chances_still_ask_again() -> None:
    """Their first chances alone are a third of all; a threshold above every change would end the asking there."""
    again = _asked(fitted_on=1000, phones=1000, chances=3)[:, 1:].mean()
    assert shift.SHARE - 0.03 < again < shift.SHARE


def test_one_chance_each_tells_no_threshold() -> None:
    statistics = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    assert shift._threshold(statistics, np.arange(50), np.ones(50, dtype=bool)) is None


def test_where_nothing_varies_there_is_no_policy_and_a_reason() -> None:
    with pytest.raises(NoShiftError, match="no device's samples differ"):
        shift._low_rank(torch.ones(50, 3), torch.randn(50, 4))
    data = NextReading.load("made-up", None)
    first = torch.cat([torch.nonzero(data.device == device)[:12, 0] for device in range(20)])
    once = Samples((data.inputs[0][first],), data.targets[first], data.device[first])
    task = NextReading.create(
        SupervisedSettings(context=8, serves=4), NextReading.facts(once), Part(name="x"), None
    )
    network = MetaNetwork(Linear(), Linear.generated, SampleSet(len(task.mean), 8))
    with pytest.raises(NoShiftError, match="no phone of the validation data had a second chance to ask"):
        fit_shift(task, network, task.splits(once, network))


def test_training_leaves_a_policy_and_the_table_compares_it(small_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(small_run, run)
    policy = read_policy(run)
    assert policy is not None
    assert policy.samples == "ids"
    assert len(policy.projection) == load_run(run).facts["n_items"] + 1
    report = policies(run, [2], Console(quiet=True))
    rows = {row["policy"]: row for row in report["policies"]}
    assert list(rows) == ["never", "always", "every 2", "shift"]
    assert (rows["never"]["bytes"], rows["always"]["share"]) == (0, 1)
    if rows["always"]["value"] > rows["never"]["value"]:
        assert (rows["never"]["kept"], rows["always"]["kept"]) == (0, 1)
    assert 0.5 <= rows["every 2"]["share"] < 0.75
    assert 0 < rows["shift"]["share"] <= 1
    assert rows["always"]["bytes"] == report["weights_bytes"] * rows["always"]["requests"]
    assert len(policy_rows(report)) == 4
    assert (run / "policies.png").stat().st_size > 1000
    # A run from before there were policies gets the same one.
    kept = (run / POLICY).read_bytes()
    (run / POLICY).unlink()
    policies(run, [], Console(quiet=True))
    assert (run / POLICY).read_bytes() == kept


def test_without_shift_the_other_policies_are_compared_and_the_reason_is_said(
    small_run: Path, tmp_path: Path, mnet: Mnet, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    shutil.copytree(small_run, run)
    (run / POLICY).unlink()
    monkeypatch.setattr(Recommendation, "seen", lambda *_: None)
    report = policies(run, [2], Console(quiet=True))
    assert [row["policy"] for row in report["policies"]] == ["never", "always", "every 2"]
    assert "Have it return the samples" in report["no_shift"]
    code, out, err = mnet("policies", str(run), "--every", "2")
    assert (code, "every 2" in out, "shift" in out) == (0, True, False)
    assert "no policy shift: task recommendation does not say" in " ".join(err.split())
