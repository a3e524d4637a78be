"""What a task answers with, other than tensors: what devices have seen, what is one's own, what memory it takes."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from torch import Tensor


class Seen(NamedTuple):
    """What devices have seen: `context` int64 [M, n] of ids, with the vector `of_ids` fp32 [ids + 1, f] of each, or
    fp32 [M, n, f] of vectors. Left-padded with 0, the newest last.
    """

    context: Tensor
    of_ids: Tensor | None = None


class Own(NamedTuple):
    """Labelled samples of one test device, which none has in reality: for an oracle.

    Attributes:
        training: seed -> the batches of one epoch, of training data as this device would see them.
        judged: test data as this device would see them, others than those of `Splits.test`.
        bias: fp32 [C], the logarithm of how frequent each class is on this device.
    """

    training: Callable[[int], Iterable[Any]]
    judged: Any
    bias: Tensor


class WorkingBytes(NamedTuple):
    """Main memory that a task takes at most.

    Attributes:
        training, evaluation: by the data, and by a batch with all that is made of it.
        figures: by the values of one method for each query of the test.
    """

    training: int
    evaluation: int
    figures: int
