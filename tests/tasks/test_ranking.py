"""The quick exact metrics against torchmetrics on the raw scores."""

import torch
from torchmetrics.retrieval import RetrievalHitRate, RetrievalNormalizedDCG

from toolchain.tasks.ranking import METRICS, metric_values, ranks


def test_they_are_what_torchmetrics_says_on_the_raw_scores() -> None:
    torch.manual_seed(0)
    logits = torch.randn(200, 40)
    target = torch.randint(1, 41, (200,))
    relevant = torch.zeros(200, 40, dtype=torch.bool)
    relevant[torch.arange(200), target - 1] = True
    query = torch.arange(200)[:, None].expand(200, 40)
    values = metric_values(ranks(logits, target))
    for name, metric in zip(
        METRICS, (RetrievalNormalizedDCG(top_k=10), RetrievalHitRate(top_k=10)), strict=True
    ):
        expected = metric(logits.flatten(), relevant.flatten(), indexes=query.flatten())
        torch.testing.assert_close(values[name].mean(), expected)


def test_a_tie_counts_against_the_target() -> None:
    assert ranks(torch.tensor([[1.0, 1.0, 0.0], [2.0, 1.0, 1.0]]), torch.tensor([1, 1])).tolist() == [1, 0]


def test_a_model_that_tells_nothing_apart_earns_nothing() -> None:
    values = metric_values(ranks(torch.zeros(3, 50), torch.tensor([1, 25, 50])))
    assert all(value.sum() == 0 for value in values.values())
