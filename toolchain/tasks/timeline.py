"""What a device saw over time, and what its model is asked at each moment: for replays of a data set on phones."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor

# A replay predicts at most as many samples of a device, and no device with fewer than the latter.
LONGEST, SHORTEST = 60, 5


@dataclass(frozen=True)
class Timeline:
    """One device's samples, oldest first; those from `start` on are predicted, steps count from `origin`.

    A sample is what the task's `question` and `uploaded` read: an item id, or inputs with their target.
    """

    user: int
    items: Sequence[Any]
    start: int
    origin: int

    @property
    def turns(self) -> int:
        """How many samples are predicted."""
        return len(self.items) - self.start


class Question(NamedTuple):
    """What the device model is asked at one moment.

    Attributes:
        inputs: device inputs of batch 1.
        value: the task's first metric of the outputs that the device model gives.
    """

    inputs: tuple[Tensor, ...]
    value: Callable[[Sequence[Tensor]], float]
