"""Fine-tuning needs no fit, but as careful a choice of its rate and steps as the other methods' settings had."""

from typing import Any

import torch
from rich.console import Console
from torch import nn

from mnet.toolchain.tasks import Task
from mnet.toolchain.tasks.splits import Splits
from mnet.toolchain.training.build import to_fine_tune
from mnet.toolchain.training.config import Config
from mnet.toolchain.training.scorers import FineTunedScorer, Scorer

BATCH = 64
# How often the grid may grow by one rate or number of steps at the edge where its best trial lies.
WIDENINGS = 6


def tune(
    task: Task[Any], static: nn.Module, config: Config, splits: Splits[Any], console: Console
) -> dict[str, Any]:
    """The best learning rate and number of steps on validation, what they score there, and how many `trials`.

    A grid whose best trial lies at its edge says nothing of what lies beyond: it grows there, rates by a factor of
    three, steps by two, until the best is inside or it has grown `WIDENINGS` times. One step is no edge: there are no
    fewer.
    """
    assert config.fine_tuning
    (model, names), metric = to_fine_tune(config, static.eval()), task.metrics[0]
    rates, steps = sorted(config.fine_tuning.learning_rates), sorted(config.fine_tuning.steps)
    values: dict[tuple[float, int], float] = {}
    for widening in range(WIDENINGS + 1):
        new = [(rate, count) for rate in rates for count in steps if (rate, count) not in values]
        for rate, count in new:
            console.print(f"fine-tuning: {count} steps at {rate:.1e}")
            scorer = FineTunedScorer(task, model, names, rate, count)
            values[rate, count] = validated(scorer, splits, metric)
        best = max if task.higher_is_better else min
        rate, count = best(values, key=lambda trial: values[trial])
        if widening == WIDENINGS or not _widen(rates, steps, rate, count):
            break
    return {
        metric: values[rate, count],
        "learning_rate": rate,
        "steps": count,
        "trials": len(values),
    }


def _widen(rates: list[float], steps: list[int], rate: float, count: int) -> bool:
    """Add to the sorted grid beyond the edge at which its best trial lies; False where that lies inside."""
    before = len(rates) + len(steps)
    if rate == rates[0]:
        rates.insert(0, rate / 3)
    elif rate == rates[-1]:
        rates.append(rate * 3)
    if count == steps[-1]:
        steps.append(2 * count)
    elif count == steps[0] and count > 1:
        steps.insert(0, count // 2)
    return len(rates) + len(steps) > before


@torch.no_grad()
def validated(scorer: Scorer | FineTunedScorer, splits: Splits[Any], metric: str) -> float:
    """The metric on validation."""
    values = [scorer.task.scores(scorer(batch), batch)[metric] for batch in splits.validation(BATCH)]
    return float(torch.cat(values).mean())
