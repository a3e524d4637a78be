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
        world = World(counts, torch.where(age > 0, age, -1).float(), events.float())
        return world, torch.from_numpy(moment.reshape(-1))

    def now(self) -> World:
        """The state after the last event."""
        return self.before(self.times[-1:] + 1)[0]
