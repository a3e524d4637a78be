"""Recommendation by counting: popularity, and world packs: what everybody took of late, as a scale and bias an item."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mnet.toolchain.data import Interactions, load_interactions
from mnet.toolchain.data.interactions import from_columns
from mnet.toolchain.errors import UserError
from mnet.toolchain.metanetwork import World, WorldGenerator
from mnet.toolchain.tasks.candidates import without_seen
from mnet.toolchain.tasks.protocols import split_interactions
from mnet.toolchain.tasks.task import Task
from mnet.toolchain.tasks.trends import Trends, later
from mnet.toolchain.tasks.windows import PackWindows


class ItemWorlds(Task[PackWindows]):
    """The part of recommendation that is about what is taken how often, in training and of late."""

    n_items: int
    settings: Any
    world_parameters: ClassVar[tuple[str, ...]] = ("item_scale.weight", "item_bias.weight")

    def _popularity(self, data: Interactions) -> Tensor:
        """fp32 [n_items]: how often each item was taken in the training rows."""
        dates = self.settings.rolling
        split = split_interactions(data, self.settings.protocol, dates.train, dates.validation)
        trained = np.arange(len(data.items)) < split.validation[data.users]
        return torch.from_numpy(np.bincount(data.items[trained], minlength=self.n_items + 1)[1:]).float()

    @torch.no_grad()
    def initialize(self, model: nn.Module, data: Interactions) -> None:
        """Where items have a bias, it starts at the logarithm of how often each was taken, less its mean."""
        bias = getattr(model, "item_bias", None)
        if isinstance(bias, nn.Embedding):
            taken = torch.log1p(self._popularity(data))
            bias.weight[1:, 0] = taken - taken.mean()

    def baselines(self, data: Interactions) -> dict[str, Callable[[PackWindows], Tensor]]:
        """`popularity`: how often each item was taken in the training rows, the same for everyone."""
        popularity = self._popularity(data)

        def scores(batch: PackWindows) -> Tensor:
            everyone = popularity.to(batch.target.device).expand(*batch.target.shape, -1)
            return without_seen(everyone, batch).flatten(0, 1)

        return {"popularity": scores}

    def world_generator(self, **settings: Any) -> WorldGenerator:
        return WorldGenerator(**settings)

    def world(self, generator: nn.Module, data: Interactions) -> World:
        if not data.dated:
            raise UserError(f"{data.name} has no times: what everybody took of late is not known")
        return Trends(data, cast(WorldGenerator, generator).half_lives.tolist()).now()

    def recent(self, path: Path, numbers: Mapping[str, int] | None = None) -> tuple[Interactions, int]:
        data = load_interactions("table", path)
        if not data.dated:
            raise UserError(f"{path} has no column time: what everybody took of late is not known")
        assert data.item_ids is not None
        if numbers is None:
            numbers = {str(number): number for number in range(1, self.n_items + 1)}
        number = np.array([numbers.get(item, 0) for item in data.item_ids])[data.items - 1]
        known = number > 0
        if not known.any():
            raise UserError(
                f"{path}: none of its items is of the catalogue: not {data.item_ids[0]}, for one; the catalogue has "
                f"{min(numbers, key=numbers.__getitem__)} and {len(numbers) - 1:,} others"
            )
        return from_columns(
            data.name, data.users[known], number[known], data.times[known], n_items=self.n_items
        ), int((~known).sum())

    def world_later(self, generator: nn.Module, world: World, data: Interactions) -> World:
        return later(world, data, cast(WorldGenerator, generator).half_lives.tolist())

    def world_pack(self, generator: nn.Module, model: nn.Module, world: World) -> dict[str, Tensor]:
        try:
            own = model.get_parameter("item_bias.weight").detach()[1:, 0]
            model.get_parameter("item_scale.weight")
        except AttributeError:
            raise UserError(
                "world: the device model has no item_bias and item_scale; take moving-averages"
            ) from None
        scale, bias = generator(world, own)
        values = (functional.pad(each, (1, 0))[..., None] for each in (scale, bias))
        return dict(zip(self.world_parameters, values, strict=True))

    def world_baselines(self, generator: nn.Module) -> dict[str, list[Callable[[PackWindows], Tensor]]]:
        """`trend`: how often each item was taken of late, by each half-life: no model, a table for all."""

        def trend(half_life: int, batch: PackWindows) -> Tensor:
            assert batch.world is not None
            assert batch.moment is not None
            taken = batch.world.counts[batch.moment, :, half_life]
            return without_seen(taken[:, None].expand(*batch.target.shape, -1), batch).flatten(0, 1)

        return {"trend": [partial(trend, i) for i in range(len(cast(WorldGenerator, generator).half_lives))]}
