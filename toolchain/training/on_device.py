"""What a device can do by itself, as a method of a run: its settings are chosen on validation, as everyone's are.

One of its steps takes a cloud, to tell what that is worth: `cloud-prior`.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import torch
from rich.console import Console
from torch import Tensor, nn

from mnet.toolchain.console import track
from mnet.toolchain.metanetwork import MetaNetwork
from mnet.toolchain.tasks import Task
from mnet.toolchain.tasks.on_device import OnDevice, Settings
from mnet.toolchain.tasks.splits import Splits
from mnet.toolchain.training.build import CLOUD, GENERATED, STATIC
from mnet.toolchain.training.config import Config
from mnet.toolchain.training.scorers import GeneratedScorer

BATCH = 16
# It needs nothing of the training data but how frequent the classes are: it works under generated weights too.
PRIOR = "label-prior"


class OnDeviceScorer(nn.Module):
    """A device model, or one under generated weights, and what its device does with the context by itself."""

    def __init__(
        self, task: Task[Any], module: nn.Module, on_device: OnDevice, source: Any, settings: Settings
    ) -> None:
        super().__init__()
        self.task = task
        self.module = module
        self.on_device = on_device
        self.source = source
        self.settings = settings

    def forward(self, batch: Any) -> Tensor:
        return self.under([self.settings], batch)[0]

    def under(self, trials: list[Settings], batch: Any) -> list[Tensor]:
        """As `Task.outputs`, once for each of the settings."""
        model = self.module
        if isinstance(model, MetaNetwork):
            model = model.under(GeneratedScorer(self.task, model).packs(batch))
        return list(self.on_device.outputs(model, self.source, batch, trials))


def on_device_rows(config: Config) -> dict[str, tuple[str, str]]:
    """Name of each such method -> the module that it is on, and its steps as the config writes them."""
    rows = {steps: (STATIC, steps) for steps in config.on_device}
    if PRIOR in config.on_device and config.metanetwork:
        rows[f"{GENERATED}+{PRIOR}"] = (GENERATED, PRIOR)
    return rows


def on_device_scorer(
    task: Task[Any],
    modules: Mapping[str, nn.Module],
    row: tuple[str, str],
    splits: Splits[Any],
    settings: Settings | None = None,
) -> OnDeviceScorer:
    """The method `row`, one of `on_device_rows`, with the settings to start from unless others are given.

    Raises UserError.
    """
    base, steps = row
    module, on_device = modules[base], task.on_device(steps.split("+"))
    model = module.device_model if isinstance(module, MetaNetwork) else module
    source = on_device.source(model.eval(), splits, modules.get(CLOUD))
    return OnDeviceScorer(task, module.eval(), on_device, source, settings or on_device.start).eval()


def tune_on_device(
    name: str, scorer: OnDeviceScorer, splits: Splits[Any], console: Console
) -> dict[str, Any]:
    """Choose the settings on the validation samples, step by step, the last one first.

    Returns the first metric there, the `settings` and how many `trials` there were.
    """
    metric, chosen = scorer.task.metrics[0], scorer.settings
    best, count = 0.0, 0
    for step in track(scorer.on_device.steps[::-1], f"{name}: trials", console=console):
        trials = scorer.on_device.around(step, chosen)
        outputs = partial(scorer.under, trials)
        at, values = best_on_validation(scorer.task, splits, outputs)
        best, chosen, count = float(values[at]), trials[at], count + len(trials)
    return {metric: best, "settings": dict(chosen), "trials": count}


@torch.no_grad()
def best_on_validation(
    task: Task[Any], splits: Splits[Any], outputs: Callable[[Any], Iterable[Tensor]]
) -> tuple[int, Tensor]:
    """Which trial is the best, and the mean of the first metric over the validation samples of each, fp32 [trials].

    `outputs` gives those of each trial for a batch, as `Task.outputs`.
    """
    values = torch.cat(
        [
            torch.stack([task.scores(each, batch)[task.metrics[0]] for each in outputs(batch)])
            for batch in splits.validation(BATCH)
        ],
        dim=1,
    ).mean(dim=1)
    return int(values.argmax() if task.higher_is_better else values.argmin()), values
