"""Fine-tuning needs no fit, but as careful a choice of its rate and steps as the other methods' settings had."""

from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from torch import nn

from mnet.toolchain.tasks import Task
from mnet.toolchain.tasks.task import Splits
from mnet.toolchain.training.build import generated_names
from mnet.toolchain.training.config import Config
from mnet.toolchain.training.scorers import FineTunedScorer

BATCH = 64


def tune(
    task: Task[Any], static: nn.Module, config: Config, splits: Splits[Any], console: Console
) -> dict[str, Any]:
    """The best learning rate and number of steps on the validation samples, and what they score there."""
    assert config.fine_tuning
    names, metric = generated_names(config, static), task.metrics[0]
    grid = [(rate, steps) for rate in config.fine_tuning.learning_rates for steps in config.fine_tuning.steps]
    trials = [
        {
            metric: _validate(FineTunedScorer(task, static.eval(), names, rate, steps), splits, metric),
            "learning_rate": rate,
            "steps": steps,
        }
        for rate, steps in track(grid, "fine-tuning: trials", console=console)
    ]
    return max(trials, key=lambda trial: trial[metric])


@torch.no_grad()
def _validate(scorer: FineTunedScorer, splits: Splits[Any], metric: str) -> float:
    values = [scorer.task.scores(scorer(batch), batch)[metric] for batch in splits.validation(BATCH)]
    return float(torch.cat(values).mean())
