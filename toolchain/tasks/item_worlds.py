"""Recommendation by counting: popularity, and world packs: what everybody took of late, as a scale and bias an item."""

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mnet.toolchain.data import Interactions
from mnet.toolchain.errors import UserError
from mnet.toolchain.metanetwork import World, WorldGenerator
from mnet.toolchain.tasks.candidates import without_seen
from mnet.toolchain.tasks.protocols import split_interactions
from mnet.toolchain.tasks.task import Task
from mnet.toolchain.tasks.trends import Trends
from mnet.toolchain.tasks.windows import PackWindows


class ItemWorlds(Task[PackWindows]):
    """The part of recommendation that is about what is taken how often, in training and of late."""

    n_items: int
    settings: Any

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

    def world_pack(self, generator: nn.Module, model: nn.Module, world: World) -> dict[str, Tensor]:
        try:
            own = model.get_parameter("item_bias.weight").detach()[1:, 0]
            model.get_parameter("item_scale.weight")
        except AttributeError:
            raise UserError(
                "world: the device model has no item_bias and item_scale; take moving-averages"
            ) from None
        scale, bias = generator(world, own)
        return {
            "item_scale.weight": functional.pad(scale, (1, 0))[..., None],
            "item_bias.weight": functional.pad(bias, (1, 0))[..., None],
        }

    def world_baselines(self) -> dict[str, Callable[[PackWindows], Tensor]]:
        """`trend`: how often each item was taken of late, by the second half-life: no model, a table for all."""

        def trend(batch: PackWindows) -> Tensor:
            assert batch.world is not None
            assert batch.moment is not None
            taken = batch.world.counts[batch.moment, :, 1]
            return without_seen(taken[:, None].expand(*batch.target.shape, -1), batch).flatten(0, 1)

        return {"trend": trend}
