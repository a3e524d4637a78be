"""Ranking metrics: each target against the whole catalogue, and against 99 sampled items.

A phone knows what its user has taken, so a config either leaves that out (`ranking: unseen`, where users take nothing
twice) or ranks all items; all methods of a run are trained and tested the same way. The sampled figures are those that
much of the literature reports; they separate methods less well, and can even put them in another order (Krichene and
Rendle, KDD 2020, "On Sampled Metrics for Item Recommendation").
"""

from collections.abc import Callable
from functools import cache, partial

import torch
from torch import Tensor
from torchmetrics.functional.retrieval import (
    retrieval_auroc,
    retrieval_hit_rate,
    retrieval_normalized_dcg,
)

Metric = Callable[[Tensor, Tensor], Tensor]

SAMPLE = 99
# Beyond this rank no metric of the full ranking but MRR earns anything.
DEPTH = 20
FULL: dict[str, Metric] = {
    f"{name}@{cutoff}": partial(function, top_k=cutoff)
    for cutoff in (10, 5, DEPTH)
    for name, function in (("ndcg", retrieval_normalized_dcg), ("hr", retrieval_hit_rate))
}
SAMPLED: dict[str, Metric] = {
    "sampled-ndcg@10": partial(retrieval_normalized_dcg, top_k=10),
    "sampled-hr@10": partial(retrieval_hit_rate, top_k=10),
    "sampled-auc": retrieval_auroc,
}
METRICS = (*FULL, "mrr", *SAMPLED)


def ranks(logits: Tensor, target: Tensor) -> Tensor:
    """Rank of each target, 0 the best; items that tie with it count as better, and a NaN makes the rank the worst.

    `logits` fp32 [N, n_items], item i in column i - 1; `target` int64 [N], 1..n_items -> int64 [N].
    """
    own = logits.gather(1, target[:, None] - 1)
    return (~(logits < own)).sum(dim=1) - 1  # nothing is less than NaN


def sampled_ranks(logits: Tensor, target: Tensor, sample: Tensor) -> Tensor:
    """Rank of each target among the items of `sample` int64 [N, 99], 0 for no item; the rest as in `ranks`."""
    own = logits.gather(1, target[:, None] - 1)
    others = logits.gather(1, (sample - 1).clamp(min=0))
    return (~(others < own) & (sample != 0)).sum(dim=1)


def full_values(rank: Tensor) -> dict[str, Tensor]:
    """Value of each metric of the full ranking for each query, fp32 [N], from the rank of its one relevant item."""
    return _at(rank.clamp(max=DEPTH), _table(DEPTH + 1, *FULL)) | {"mrr": 1 / (rank + 1)}


def sampled_values(rank: Tensor) -> dict[str, Tensor]:
    """Value of each sampled metric for each query, fp32 [N], from the rank of its one relevant item in the sample."""
    return _at(rank, _table(SAMPLE + 1, *SAMPLED))


def _at(rank: Tensor, table: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: values.to(rank.device)[rank] for name, values in table.items()}


@cache
def _table(items: int, *names: str) -> dict[str, Tensor]:
    """With one relevant item a metric depends on its rank alone: torchmetrics' value for each rank among `items`."""
    metrics = FULL | SAMPLED
    preds = torch.arange(items, 0, -1) / items  # within 0 to 1: beyond, retrieval_auroc takes them for logits
    by_rank = torch.eye(items, dtype=torch.bool)
    return {name: torch.stack([metrics[name](preds, relevant) for relevant in by_rank]) for name in names}
