"""What everybody takes over time: the state of the world at any moment of a data set."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mnet.toolchain.data.interactions import IntArray, Interactions
from mnet.toolchain.metanetwork import World

# States are kept for so many moments, evenly by events: a pack is made from the last one before it.
MOMENTS = 500


class Trends:
    """Reads the state of the world before a moment; it is at most N / 500 interactions old.

    Args:
        data: a dated set; its interactions, of all users, are the events.
        half_lives: H of them, in events.
    """

    def __init__(self, data: Interactions, half_lives: Sequence[float]) -> None:
        order = np.argsort(data.times, kind="stable")
        self.times = data.times[order]
        self.every = max(1, len(order) // MOMENTS)
        items = torch.from_numpy(data.items[order] - 1)
        rates = -np.log(2) / torch.tensor(half_lives, dtype=torch.float32)
        counts = torch.zeros(data.n_items, len(half_lives))
        self._counts = [counts.bfloat16()]
        for first in range(0, len(items) - self.every + 1, self.every):
            counts *= torch.exp(rates * self.every)
            age = torch.arange(self.every - 1, -1, -1)
            counts.index_add_(0, items[first : first + self.every], torch.exp(rates * age[:, None]))
            self._counts.append(counts.bfloat16())
        self._first = torch.full((data.n_items,), len(items)).scatter_reduce(
            0, items, torch.arange(len(items)), "amin"
        )

    def before(self, times: IntArray) -> tuple[World, Tensor]:
        """The states before `times` int64 [M]; those of one moment are there once. int64 [M]: the state of each."""
        state, moment = np.unique(np.searchsorted(self.times, times) // self.every, return_inverse=True)
        events = torch.from_numpy(state * self.every)
        counts = torch.stack([self._counts[index] for index in state]).float()
        age = events[:, None] - self._first
        until = torch.from_numpy(np.where(state > 0, self.times[state * self.every - 1], 0))
        world = World(counts, torch.where(age > 0, age, -1).float(), events.float(), until)
        return world, torch.from_numpy(moment.reshape(-1))

    def now(self) -> World:
        """The state after the last event."""
        return self.before(self.times[-1:] + 1)[0]


def later(world: World, data: Interactions, half_lives: Sequence[float]) -> World:
    """The state of one moment, carried on to the end of `data`: by those of its interactions that came after it."""
    order = np.argsort(data.times, kind="stable")
    order = order[np.searchsorted(data.times[order], int(world.until), side="right") :]
    if not len(order):
        return world
    items = torch.from_numpy(data.items[order] - 1)
    ago = torch.arange(len(items) - 1, -1, -1)
    rates = -np.log(2) / torch.tensor(half_lives, dtype=torch.float32)
    counts = world.counts[0] * torch.exp(rates * len(items))
    counts.index_add_(0, items, torch.exp(rates * ago[:, None]))
    oldest = torch.full_like(world.age[0], -1).scatter_reduce(0, items, ago.float() + 1, "amax")
    age = torch.where(world.age[0] >= 0, world.age[0] + len(items), oldest)
    until = torch.tensor([int(data.times[order[-1]])])
    return World(counts[None], age[None], world.events + len(items), until)
