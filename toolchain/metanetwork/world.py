"""World packs: what everybody took of late -> a scale and a bias for each item, the same for all devices.

A phone has its own history and not what others did since its app was built: what is new, what rises, what is over. The
cloud has, and needs no upload for it.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn


class World(NamedTuple):
    """What everybody had taken, by S moments, of a catalogue of C items.

    Attributes:
        counts: fp32 [S, C, H], how often each item was taken, where an event counts half after each of H half-lives.
        age: fp32 [S, C], events since the item was first taken; -1 where it never was.
        events: fp32 [S], how many there had been.
        until: int64 [S], the time of the last of them, in seconds.
    """

    counts: Tensor
    age: Tensor
    events: Tensor
    until: Tensor


class WorldGenerator(nn.Module):
    """From the world's state to each item's scale and bias: a small MLP that reads one item at a time.

    It reads how often the item was taken in each half-life, absolutely and as a share, its age, and the bias that it
    has in the device model. Having no weights of its own for any item, it serves one that nobody had seen in training
    as well as the others. It starts at changing nothing.

    Args:
        half_lives: H of them, in events (interactions of all users); of `World.counts`.
        hidden: width of the MLP.
    """

    half_lives: Tensor

    def __init__(self, half_lives: Sequence[float] = (100, 400, 1600, 6400, 25600), hidden: int = 16) -> None:
        super().__init__()
        self.register_buffer("half_lives", torch.tensor(half_lives, dtype=torch.float32), persistent=False)
        change = nn.Linear(2 * hidden, 2)
        nn.init.zeros_(change.weight)
        nn.init.zeros_(change.bias)
        self.mlp = nn.Sequential(nn.Linear(2 * len(half_lives) + 3, 2 * hidden), nn.GELU(), change)

    def forward(self, world: World, bias: Tensor) -> tuple[Tensor, Tensor]:
        """The device model's own `bias` of each item fp32 [C] -> scale and bias at each moment, fp32 [S, C].

        A scale, -1 to 1, goes with the 1 that an item's score is multiplied by.
        """
        # Of the events that count, an item that is like any other has this many.
        window = torch.minimum(self.half_lives, world.events[:, None] + 1) / math.log(2)
        usual = (window / len(bias))[:, None]
        share = torch.log((world.counts + 0.05 * usual + 0.1) / usual)
        never = world.age < 0
        age = torch.log1p(world.age.clamp(min=0)) / 5 - 1
        own = bias.expand(len(age), -1)
        alone = torch.stack([own, never.float(), age], dim=2)
        change = self.mlp(torch.cat([share, torch.log1p(world.counts), alone], dim=2))
        return torch.tanh(change[..., 0]), own + change[..., 1]
