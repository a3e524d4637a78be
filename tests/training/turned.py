"""A task, its data and its model as a user would write them, in one file beside the config.

Every device sees the same clouds of points turned by an angle of its own; a point's class is the side it lies on.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

from mnet.toolchain.metanetwork import ContextEncoder, MetaNetwork
from mnet.toolchain.settings import Part, Strict
from mnet.toolchain.tasks import Task

CONTEXT, SERVED = 32, 8


class Points(NamedTuple):
    """`context` fp32 [M, 32, 2], `points` fp32 [M, 8, 2], `side` int64 [M, 8], `device` int64 [M]."""

    context: Tensor
    points: Tensor
    side: Tensor
    device: Tensor


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

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.mlp = nn.Sequential(
            nn.Linear(4, 2 * width), nn.GELU(), nn.Linear(2 * width, width), nn.LayerNorm(width)
        )

    def at_every_item(self, context: Tensor, last: int | None = None) -> Tensor:
        count = torch.arange(1, context.shape[1] + 1)[:, None]
        moments = torch.cat([context, context * context.square().sum(dim=2, keepdim=True)], dim=2)
        vectors: Tensor = self.mlp(moments.cumsum(dim=1) / count)
        return vectors if last is None else vectors[:, -last:]

    def scores(self, vector: Tensor) -> Tensor:
        """How a device is turned says nothing of its next point's side."""
        return vector.new_zeros(*vector.shape[:-1], 2)


class Settings(Strict):
    devices: int = 64


class Turned(Task[Points]):
    name: ClassVar[str] = "turned"
    input_names: ClassVar[tuple[str, ...]] = ("points",)
    metrics: ClassVar[tuple[str, ...]] = ("accuracy",)
    Settings: ClassVar[type[Strict]] = Settings
    models: ClassVar[Mapping[str, str]] = {}
    encoders: ClassVar[Mapping[str, str]] = {}
    sizes: ClassVar[dict[str, Any]] = {}  # type: ignore[assignment]
    encoder_sizes: ClassVar[dict[str, Any]] = {}  # type: ignore[assignment]

    def __init__(self, n_devices: int) -> None:
        self.n_devices = n_devices

    @classmethod
    def create(cls, settings: Any, facts: Mapping[str, Any], model: Part, context: Part | None) -> Self:
        return cls(settings.devices)

    @classmethod
    def load(cls, name: str, path: Path | None) -> None:
        """It is made up on the spot."""

    @classmethod
    def facts(cls, data: None) -> dict[str, Any]:
        return {}

    def example_inputs(self, generator: torch.Generator) -> tuple[Tensor, ...]:
        return (torch.randn(1, 2, generator=generator),)

    def context(self, samples: Sequence[Any]) -> Tensor:
        return torch.tensor(samples, dtype=torch.float32)[None]

    def splits(self, data: None, *models: nn.Module) -> "Draws":
        return Draws(self.n_devices)

    def logits(self, model: nn.Module, batch: Points) -> Tensor:
        logits: Tensor = model(batch.points.flatten(0, 1))
        return logits

    def targets(self, batch: Points) -> Tensor:
        return batch.side.flatten()

    def vectors(self, network: MetaNetwork, batch: Points) -> Tensor:
        return network.context_encoder(batch.context)

    def context_loss(self, network: MetaNetwork, vectors: Tensor, batch: Points) -> Tensor:
        return vectors.new_zeros(())

    def own_loss(self, model: nn.Module, batch: Points) -> Tensor:
        share = model(batch.context.flatten(0, 1)).softmax(dim=1)
        return torch.special.entr(share).sum(dim=1).view(len(batch.device), -1).mean(dim=1)

    def scores(self, logits: Tensor, batch: Points) -> dict[str, Tensor]:
        return {"accuracy": (logits.argmax(dim=1) == self.targets(batch)).float()}

    def devices(self, batch: Points) -> Tensor:
        return batch.device

    def owners(self, batch: Points) -> Tensor:
        return batch.device.repeat_interleave(SERVED)


class Draws:
    """Other devices in each part."""

    def __init__(self, devices: int) -> None:
        self.devices = devices

    def training(self, batch_size: int, seed: int) -> DataLoader[Points]:
        return self._load(batch_size, 1000 + seed)

    def validation(self, batch_size: int) -> DataLoader[Points]:
        return self._load(batch_size, 1)

    def test(self, batch_size: int) -> DataLoader[Points]:
        return self._load(batch_size, 2)

    def _load(self, batch_size: int, seed: int) -> DataLoader[Points]:
        return DataLoader(list(self._draw(batch_size, seed)), batch_size=None)  # type: ignore[arg-type]

    def _draw(self, batch_size: int, seed: int) -> Iterator[Points]:
        generator = torch.Generator().manual_seed(seed)
        for first in range(0, self.devices, batch_size):
            device = torch.arange(first, min(first + batch_size, self.devices))
            angle = 6.283 * torch.rand(len(device), generator=generator)
            turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], dim=1).view(-1, 2, 2)
            side = torch.randint(2, (len(device), CONTEXT + SERVED), generator=generator)
            # One cloud is narrow, the other one wide: which is which shows without a label.
            spread = torch.tensor([0.1, 0.5])[side][..., None]
            points = torch.randn(*side.shape, 2, generator=generator) * spread
            points = (points + functional.pad(2.0 * side[..., None] - 1, (0, 1))) @ turn
            yield Points(points[:, :CONTEXT], points[:, CONTEXT:], side[:, CONTEXT:], device)
