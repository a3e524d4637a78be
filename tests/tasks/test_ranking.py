"""The quick exact metrics against torchmetrics on the raw scores."""

import torch
from torchmetrics.retrieval import RetrievalAUROC, RetrievalHitRate, RetrievalMRR, RetrievalNormalizedDCG

from mnet.toolchain.tasks.ranking import METRICS, SAMPLE, full_values, ranks, sampled_ranks, sampled_values


def torchmetrics_of(logits: torch.Tensor, column: torch.Tensor) -> dict[str, torch.Tensor]:
    relevant = torch.zeros_like(logits, dtype=torch.bool).scatter(1, column[:, None], True)
    query = torch.arange(len(logits))[:, None].expand_as(logits)
    metrics = {
        "mrr": RetrievalMRR(),
        "auc": RetrievalAUROC(),
        **{f"ndcg@{k}": RetrievalNormalizedDCG(top_k=k) for k in (5, 10, 20)},
        **{f"hr@{k}": RetrievalHitRate(top_k=k) for k in (5, 10, 20)},
    }
    return {
        name: metric(logits.flatten(), relevant.flatten(), indexes=query.flatten())
        for name, metric in metrics.items()
    }


def test_they_are_what_torchmetrics_says_on_the_raw_scores() -> None:
    torch.manual_seed(0)
    logits = torch.rand(200, 140)  # torchmetrics takes scores below 0 for "not retrieved"
    target = torch.randint(1, 141, (200,))
    others = torch.stack([torch.randperm(139)[:SAMPLE] for _ in target])
    sample = 1 + others + (others >= target[:, None] - 1)
    values = full_values(ranks(logits, target)) | sampled_values(sampled_ranks(logits, target, sample))
    assert tuple(values) == METRICS
    full = torchmetrics_of(logits, target - 1)
    among = torchmetrics_of(logits.gather(1, torch.cat([target[:, None], sample], 1) - 1), target * 0)
    for name, value in values.items():
        expected = among[name.removeprefix("sampled-")] if name.startswith("sampled-") else full[name]
        torch.testing.assert_close(value.mean(), expected)


def test_a_tie_counts_against_the_target() -> None:
    logits, target = torch.tensor([[1.0, 1.0, 0.0], [2.0, 1.0, 1.0]]), torch.tensor([1, 1])
    assert ranks(logits, target).tolist() == [1, 0]
    assert sampled_ranks(logits, target, torch.tensor([[2, 3], [2, 3]])).tolist() == [1, 0]


def test_a_score_that_is_no_number_has_the_worst_rank() -> None:
    logits = torch.tensor([[torch.nan] * 3, [torch.nan, 1.0, 0.0], [0.5, 1.0, torch.nan]])
    target, sample = torch.tensor([1, 1, 1]), torch.tensor([[2, 3]] * 3)
    assert ranks(logits, target).tolist() == [2, 2, 2]
    assert sampled_ranks(logits, target, sample).tolist() == [2, 2, 2]
    values = full_values(ranks(torch.full((1, 500), torch.nan), torch.tensor([7])))
    assert values["ndcg@10"].item() == 0
    assert (values["mrr"] == 1 / 500).all()


def test_a_user_who_took_nearly_all_has_a_shorter_sample() -> None:
    logits = torch.tensor([[0.0, 5.0, 5.0]])
    assert sampled_ranks(logits, torch.tensor([1]), torch.tensor([[2, 0, 0]])).tolist() == [1]


def test_a_model_that_tells_nothing_apart_earns_next_to_nothing() -> None:
    logits, target = torch.zeros(3, 500), torch.tensor([1, 25, 50])
    sample = torch.arange(100, 199).expand(3, -1)
    values = full_values(ranks(logits, target)) | sampled_values(sampled_ranks(logits, target, sample))
    assert all(value.sum() == 0 for name, value in values.items() if name != "mrr")
    assert (values["mrr"] == 1 / 500).all()
