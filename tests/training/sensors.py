"""A regression task: the next reading of a sensor. Every sensor swings at a frequency and a bias of its own."""

from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from mnet.toolchain.tasks import Samples, SupervisedTask
from mnet.toolchain.tasks.supervised import SampleBatch

SENSORS, READINGS, WINDOW = 100, 100, 4


class NextReading(SupervisedTask):
    input_names: ClassVar[tuple[str, ...]] = ("series",)
    output_names: ClassVar[tuple[str, ...]] = ("reading",)
    metrics: ClassVar[tuple[str, ...]] = ("squared error", "absolute error")
    lower_is_better: ClassVar[tuple[str, ...]] = metrics

    @classmethod
    def load(cls, name: str, path: Path | None, **settings: Any) -> Samples:
        generator = torch.Generator().manual_seed(1)
        frequency, phase, bias = torch.rand(3, SENSORS, 1, generator=generator)
        swing = ((0.3 + 2.0 * frequency) * torch.arange(READINGS) + 6.283 * phase).sin() + 2 * bias
        series = swing + 0.02 * torch.randn(SENSORS, READINGS, generator=generator)
        windows = series.unfold(1, WINDOW + 1, 1)
        device = torch.arange(SENSORS).repeat_interleave(windows.shape[1])
        return Samples((windows[..., :-1].flatten(0, 1),), windows[..., -1].flatten(), device)

    def loss(self, outputs: Tensor, batch: SampleBatch) -> Tensor:
        return functional.mse_loss(outputs, self.targets(batch))

    def scores(self, outputs: Tensor, batch: SampleBatch) -> dict[str, Tensor]:
        error = outputs - self.targets(batch)
        return {"squared error": error.square(), "absolute error": error.abs()}


class Linear(nn.Module):
    """One linear map predicts a swing exactly, but another one for each frequency."""

    generated: ClassVar[tuple[str, ...]] = ("out.weight", "out.bias")

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(WINDOW, 1)

    def forward(self, series: Tensor) -> Tensor:
        return self.out(series)[:, 0]
