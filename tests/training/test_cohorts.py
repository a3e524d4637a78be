"""Packs for devices that are alike: who is in a cohort, and that its devices have one pack."""

from pathlib import Path

import torch

from mnet.toolchain.training.build import load_data
from mnet.toolchain.training.cohorts import CohortScorer, centres
from mnet.toolchain.training.run import load_run
from mnet.toolchain.training.scorers import GeneratedScorer, StaticScorer


def test_cohorts_are_the_clusters_of_the_vectors_that_there_are() -> None:
    torch.manual_seed(0)
    left, right = torch.randn(50, 3) - 20, torch.randn(70, 3) + 20
    found = centres(torch.cat([left, torch.zeros(30, 3), right]), 2, seed=0)
    expected = torch.stack([left.mean(dim=0), right.mean(dim=0)])
    torch.testing.assert_close(found[found[:, 0].argsort()], expected)
    assert len(centres(torch.ones(9, 3), 2, seed=0)) == 1


def test_a_device_has_the_pack_of_the_nearest_cohort(small_run: Path) -> None:
    run = load_run(small_run)
    data = load_data(run.config)
    personal = GeneratedScorer(run.task, run.metanetwork).eval()
    splits = run.task.splits(data, run.metanetwork)
    batch = next(iter(splits.test(8)))
    with torch.no_grad():
        vectors = run.task.vectors(run.metanetwork, batch)
        scorer = CohortScorer(personal, lambda: splits.training(8, seed=0)).eval()
        assert scorer.centres.shape[1] == vectors.shape[1]
        together = scorer(batch)
        # Were each device a cohort of its own, it would have its own pack.
        scorer.__dict__["centres"] = vectors
        torch.testing.assert_close(scorer(batch), personal(batch))
        scorer.__dict__["centres"] = vectors[:1]
        everyone = personal.packs_of(vectors[:1].expand_as(vectors) * (vectors != 0).any(dim=1, keepdim=True))
        torch.testing.assert_close(scorer(batch), personal.logits(everyone, batch))
        alone = StaticScorer(run.task, run.metanetwork.device_model)(batch)
    assert not torch.equal(together, personal(batch))
    assert not torch.equal(together, alone)
