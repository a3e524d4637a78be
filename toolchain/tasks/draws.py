"""Items by chance: those that stand for the catalogue in training, and those that a target competes with in a test."""

import numpy as np
import torch
from torch import Tensor

from mnet.toolchain.data.interactions import IntArray
from mnet.toolchain.tasks.ranking import SAMPLE

# What is drawn for evaluation is the same for every method and run.
SEED = 0


def draw_items(n_items: int, count: int, generator: torch.Generator) -> Tensor:
    """int64 [count]: different items, each as likely as any other."""
    return torch.randperm(n_items, generator=generator)[:count] + 1


def draw_not_taken(taken: IntArray, n_items: int, row: int) -> Tensor:
    """int64 [99]: items that a user never takes, for the target at `row` of the data set by itself.

    `taken` int64 [n] holds those that the user takes, each once, ascending; fewer than all.
    """
    drawn = np.random.default_rng((SEED, row)).integers(n_items - len(taken), size=SAMPLE)
    # The number of an item among the free ones -> its id: past the taken ones that come before it.
    skipped = np.searchsorted(taken - 1 - np.arange(len(taken)), drawn, side="right")
    return torch.from_numpy(drawn + skipped + 1)
