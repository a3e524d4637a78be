"""Recommendation's world packs: what everybody took of late, into a scale and a bias for each item."""

from collections.abc import Callable
from typing import Any, cast

from torch import Tensor, nn
from torch.nn import functional

from mnet.toolchain.data import Interactions
from mnet.toolchain.errors import UserError
from mnet.toolchain.metanetwork import World, WorldGenerator
from mnet.toolchain.tasks.candidates import without_seen
from mnet.toolchain.tasks.task import Task
from mnet.toolchain.tasks.trends import Trends
from mnet.toolchain.tasks.windows import PackWindows


class ItemWorlds(Task[PackWindows]):
    """The part of recommendation that is about the state of the world."""

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
