"""One pack for everyone, from what everybody did of late."""

from dataclasses import dataclass
from pathlib import Path

from mnet.export.format.bundle import Bundle
from mnet.toolchain.cloud.generation import PackGenerator
from mnet.toolchain.errors import UserError
from mnet.toolchain.training.build import WORLD
from mnet.toolchain.training.run import Run, read_items, read_world


@dataclass(frozen=True)
class WorldPack:
    """A pack for everyone.

    Attributes:
        pack: its bytes.
        events: interactions that its state of the world has seen, those of the run's own data among them.
        new: those of them that came after the run's data.
        left_out: rows of the table, of items that devices do not have.
        until: time of the last of them, Unix seconds.
    """

    pack: bytes
    events: int
    new: int
    left_out: int
    until: int


def make_world_pack(run: Run, bundle: Bundle, interactions: Path | None, version: int) -> WorldPack:
    """The world pack of a run's bundle, from the run's own data and a table of the `interactions` since.

    The table has the columns `user`, `item` and `time`, with items as the run's data calls them; those that are new
    since are left out. What the run's data held already, by its time, counts once. None: the end of the run's data.
    Raises UserError.
    """
    if WORLD not in run.modules:
        raise UserError(f"{run.path} trained no world packs; its config has no section world")
    known = read_world(run.path)
    if known is None:
        raise UserError(f"{run.path} holds no state of the world: train it again")
    world, left_out = known, 0
    if interactions is not None:
        recent, left_out = run.task.recent(interactions, read_items(run.path))
        world = run.task.world_later(run.modules[WORLD], known, recent)
    events = int(world.events)
    pack = PackGenerator(run, bundle).world_pack(version, run.world_parameters(world))
    return WorldPack(pack, events, events - int(known.events), left_out, int(world.until))
