"""The ablation: each variant is what it says, and its figures are what they say."""

import json
from pathlib import Path

import pytest
import torch
from rich.console import Console

from mnet.toolchain.errors import UserError
from mnet.toolchain.training.ablation import PARTS, VARIANTS, ablate, variant
from mnet.toolchain.training.build import build_task, load_data
from mnet.toolchain.training.config import load_config
from mnet.toolchain.training.run import load_run
from mnet.toolchain.training.scorers import GeneratedScorer
from mnet.toolchain.training.successive_releases import ReleasedScorer, top_columns, without_newest
from tests.mnet_command import Mnet

QUIET = Console(quiet=True)


def test_a_variant_has_its_parts_and_no_others(config_file: Path) -> None:
    config = load_config(str(config_file))
    assert set(VARIANTS) == {"none", *PARTS, "all"}
    settings = {name: variant(config, parts).metanetwork for name, parts in VARIANTS.items()}
    for name, with_part in settings.items():
        assert with_part is not None
        assert (with_part.form == "residual" and with_part.bound == 1.0) == (name in ("residual", "all"))
        assert (with_part.fit.averaging > 0) == (name in ("averaging", "all"))
        assert (with_part.windows > 1) == (name in ("windows", "all"))


def test_the_report_has_every_variant_and_smoothing_halves_the_steps(
    mnet: Mnet, config_file: Path, tmp_path: Path
) -> None:
    short = ("--set", "metanetwork.fit.epochs=2")
    code, out, _ = mnet("ablate", config_file, *short, "--out", tmp_path / "ablation", "--json")
    rows = json.loads(out)["variants"]
    assert code == 0
    assert list(rows) == list(VARIANTS)
    for row in rows.values():
        assert len(row["curve"]) == 2
        assert 1 <= row["epochs_to_95"] <= 2
        assert 0 < row["metric"] <= 1
        assert 0 < row["default"] <= 1
    # Smoothing is no part of the fit, and a release that keeps half of the one before goes half the way.
    assert rows["smoothing"]["default"] == rows["none"]["default"] != rows["residual"]["default"]
    assert rows["smoothing"]["curve"] == rows["none"]["curve"] != rows["residual"]["curve"]
    assert rows["smoothing"]["weight_change"] == pytest.approx(rows["none"]["weight_change"] / 2)
    assert rows["smoothing"]["changed_lists"] <= rows["none"]["changed_lists"] <= 1
    assert (tmp_path / "ablation" / "ablation.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(UserError, match="holds a run of another config"):
        ablate(load_config(str(config_file)), tmp_path / "ablation", QUIET)


@torch.no_grad()
def test_each_release_of_a_device_keeps_its_share_of_the_one_before(small_run: Path) -> None:
    run = load_run(small_run)
    data = load_data(run.config)
    scorer = GeneratedScorer(run.task, run.metanetwork)
    smoothed = ReleasedScorer(scorer, 0.5)
    device, last = -1, dict[str, torch.Tensor]()
    for batch in build_task(run.config, run.facts).splits(data, run.static).test(7):
        expected = []
        for pack, owner in enumerate(run.task.devices(batch).tolist()):
            new = {name: values[pack] for name, values in scorer.packs(batch).items()}
            last = {n: (last[n] + v) / 2 for n, v in new.items()} if owner == device else new
            device = owner
            expected.append(last)
        released = {name: torch.stack([pack[name] for pack in expected]) for name in expected[0]}
        torch.testing.assert_close(smoothed(batch), scorer.logits(released, batch))


def test_the_context_before_its_newest_sample() -> None:
    assert without_newest(torch.tensor([[0, 1, 2, 3]])).tolist() == [[0, 0, 1, 2]]
    images = torch.arange(1, 13).view(1, 3, 2, 2)
    assert torch.equal(without_newest(images), torch.cat([torch.zeros(1, 1, 2, 2), images[:, :2]], dim=1))


def test_lists_are_compared_by_what_is_in_them() -> None:
    logits = torch.arange(12.0)[None]
    assert top_columns(logits).tolist() == [list(range(2, 12))]
    assert top_columns(logits[:, :10]).tolist() == [[9]]
