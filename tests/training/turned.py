"""A task, its data, its model and its context encoder as a user would write them, in one file beside the config.

Every device sees the same clouds of points turned by an angle of its own; a point's class is the side it lies on.
"""

from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from mnet.toolchain.metanetwork import ContextEncoder
from mnet.toolchain.tasks import Samples, SupervisedTask
from mnet.toolchain.tasks.supervised import SampleBatch

DEVICES, POINTS = 240, 56


class Turned(SupervisedTask):
    input_names: ClassVar[tuple[str, ...]] = ("points",)
    output_names: ClassVar[tuple[str, ...]] = ("logits",)
    metrics: ClassVar[tuple[str, ...]] = ("accuracy",)

    @classmethod
    def load(cls, name: str, path: Path | None, **settings: Any) -> Samples:
        """Made up: one cloud is narrow, the other one wide, so that which is which shows without a label."""
        generator = torch.Generator().manual_seed(1)
        angle = 6.283 * torch.rand(DEVICES, generator=generator)
        turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], dim=1).view(-1, 2, 2)
        side = torch.randint(2, (DEVICES, POINTS), generator=generator)
        spread = torch.tensor([0.1, 0.5])[side][..., None]
        points = torch.randn(DEVICES, POINTS, 2, generator=generator) * spread
        points = (points + functional.pad(2.0 * side[..., None] - 1, (0, 1))) @ turn
        device = torch.arange(DEVICES).repeat_interleave(POINTS)
        return Samples((points.flatten(0, 1),), side.flatten(), device)

    def scores(self, outputs: Tensor, batch: SampleBatch) -> dict[str, Tensor]:
        return {"accuracy": (outputs.argmax(dim=1) == self.targets(batch)).float()}

    def own_loss(self, model: nn.Module, batch: SampleBatch) -> Tensor:
        """The entropy of the predictions; only fine-tuning asks for it."""
        share = model(batch.context.flatten(0, 1)).softmax(dim=1)
        return torch.special.entr(share).sum(dim=1).view(len(batch.device), -1).mean(dim=1)


class Net(nn.Module):
    generated: ClassVar[tuple[str, ...]] = ("hidden.weight", "out.weight", "out.bias")

    def __init__(self, width: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(2, width)
        self.out = nn.Linear(width, 2)

    def forward(self, points: Tensor) -> Tensor:
        return self.out(torch.relu(self.hidden(points)))


class Clouds(ContextEncoder):
    """How a device is turned, from first and third moments of its points: the wide cloud weighs more in the latter."""

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.mlp = nn.Sequential(
            nn.Linear(2 * features, 2 * width), nn.GELU(), nn.Linear(2 * width, width), nn.LayerNorm(width)
        )

    def at_every_item(self, context: Tensor, last: int | None = None) -> Tensor:
        count = torch.arange(1, context.shape[1] + 1)[:, None]
        moments = torch.cat([context, context * context.square().sum(dim=2, keepdim=True)], dim=2)
        vectors: Tensor = self.mlp(moments.cumsum(dim=1) / count)
        return vectors if last is None else vectors[:, -last:]
