"""Full-ranking metrics: every target is ranked against the whole catalogue, none of it sampled.

A phone knows what its user has taken, so a config either leaves that out (`ranking: unseen`, where users take nothing
twice) or ranks all items; all methods of a run are trained and tested the same way.
"""

from functools import cache

import torch
from torch import Tensor
from torchmetrics.functional.retrieval import retrieval_hit_rate, retrieval_normalized_dcg

CUTOFF = 10
METRICS = (f"ndcg@{CUTOFF}", f"hr@{CUTOFF}")


def ranks(logits: Tensor, target: Tensor) -> Tensor:
    """Rank of each target, 0 the best; items that tie with it count as better.

    `logits` fp32 [N, n_items], item i in column i - 1; `target` int64 [N], 1..n_items -> int64 [N].
    """
    own = logits.gather(1, target[:, None] - 1)
    return (logits >= own).sum(dim=1) - 1


def metric_values(rank: Tensor) -> dict[str, Tensor]:
    """Value of each metric for each query, fp32 [N], from the rank of its one relevant item."""
    return {name: table.to(rank.device)[rank.clamp(max=CUTOFF)] for name, table in _tables().items()}


@cache
def _tables() -> dict[str, Tensor]:
    """With one relevant item a metric depends on its rank alone: torchmetrics' value for ranks 0..CUTOFF."""
    preds = torch.arange(CUTOFF + 1, 0, -1, dtype=torch.float32)
    by_rank = torch.eye(CUTOFF + 1, dtype=torch.bool)
    functions = (retrieval_normalized_dcg, retrieval_hit_rate)
    return {
        name: torch.stack([function(preds, relevant, top_k=CUTOFF) for relevant in by_rank])
        for name, function in zip(METRICS, functions, strict=True)
    }
