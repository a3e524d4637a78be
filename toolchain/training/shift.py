"""The request policy `shift`, fitted right after the MetaNetwork, on devices that it was validated on.

No label is needed. What the MetaNetwork makes of a context is its vector, and equal vectors give equal weights; but a
phone has no MetaNetwork. So it gets the linear map, of low rank, that best predicts the vector from a moving average
of the samples (reduced-rank regression, Izenman 1975): how far the average has moved through that map since the last
weights tells how far new ones would be from them.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mnet.export.format.shift import Shift, moving_average
from mnet.toolchain.errors import UserError
from mnet.toolchain.metanetwork import MetaNetwork
from mnet.toolchain.tasks import Task
from mnet.toolchain.tasks.splits import Splits

HALF_LIVES = (5.0, 10.0, 20.0, 40.0)
RANK = 8
RIDGE = 1e-3
# Other phones than those of the validation data ask at no more than this share of their chances, with 95 % certainty;
# where their first ones, at which every phone asks, are more than that already: at this share of the others.
SHARE = 0.30
_CERTAINTY = 1.645  # standard errors, one-sided
BATCH = 64

Asks = Callable[[int, int], bool]


class NoShiftError(UserError):
    """There is no policy `shift` to be had, and why."""


@torch.no_grad()
def fit_shift(task: Task[Any], network: MetaNetwork, splits: Splits[Any]) -> Shift:
    """The policy for this network.

    Raises NoShiftError where there can be none: the task does not say what a shift shows in, no phone of the
    validation data had a second chance to ask, or nothing differs between the times at which they could.
    """
    network.eval()
    averages: dict[float, list[Tensor]] = {half_life: [] for half_life in HALF_LIVES}
    vectors, devices, of_ids = [], [], None
    for batch in task.histories(splits, "validation", BATCH):
        if (seen := task.seen(network, batch)) is None:
            raise NoShiftError(
                f"task {task.name} does not say what a shift shows in: its `seen` returned None for this context "
                "encoder. Have it return the samples that a phone keeps, or let phones ask every N"
            )
        of_ids = seen.of_ids
        samples = seen.context if of_ids is None else of_ids[seen.context]
        for half_life, found in averages.items():
            found.append(moving_average(samples, half_life))
        vectors.append(task.vectors(network, batch))
        devices.append(task.devices(batch))
    wanted, device = torch.cat(vectors), torch.cat(devices)
    known = (wanted != 0).any(dim=1)
    if not known.any():
        raise NoShiftError(
            "no device of the validation data has uploaded anything: give devices more samples"
        )
    fits = {h: _low_rank(torch.cat(found)[known], wanted[known]) for h, found in averages.items()}
    half_life = min(fits, key=lambda h: fits[h][1])
    projection = fits[half_life][0]
    statistics = torch.cat(averages[half_life]) @ projection
    threshold = _threshold(statistics, device.numpy(), known.numpy())
    if threshold is None:
        raise NoShiftError(
            "no phone of the validation data had a second chance to ask: give devices more samples, or let a pack "
            "serve fewer (`refresh`, `serves`)"
        )
    if of_ids is None:
        return Shift("vectors", projection, half_life, threshold)
    return Shift("ids", of_ids @ projection, half_life, threshold)


def served_by(asks: Asks, device: NDArray[np.int64], known: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Which time's weights serve each of N times, int64 [N]; -1 for the default ones.

    Args:
        asks: (the present time, that of the weights that serve until now or -1) -> whether the phone asks.
        device: int64 [N], the times of one device follow each other.
        known: bool [N], whether there is anything yet to make weights from.
    """
    source, last = np.full(len(device), -1), -1
    for now in range(len(device)):
        if now and device[now] != device[now - 1]:
            last = -1
        if known[now] and asks(now, last):
            last = now
        source[now] = last
    return source


def asks_by_shift(statistics: NDArray[np.floating[Any]], threshold: float) -> Asks:
    """`Shift.asks` over statistics [N, d] that are all there at once."""

    def asks(now: int, last: int) -> bool:
        return last < 0 or float(np.square(statistics[now] - statistics[last]).sum()) > threshold

    return asks


def _threshold(statistics: Tensor, device: NDArray[np.int64], known: NDArray[np.bool_]) -> float | None:
    """The lowest at which phones keep to `SHARE`, by bisection on its logarithm; None without a choice."""
    values, (_, phone) = statistics.numpy(), np.unique(device[known], return_inverse=True)
    chances = np.bincount(phone)
    if chances.max() == 1:
        return None
    free = int(len(chances) >= SHARE * chances.sum())  # chances of each phone that do not count
    low, high = -20.0, 20.0
    for _ in range(30):
        middle = (low + high) / 2
        source = served_by(asks_by_shift(values, float(np.exp(middle))), device, known)
        asked = np.bincount(phone[(source == np.arange(len(source)))[known]], minlength=len(chances))
        low, high = (middle, high) if _at_most(asked - free, chances - free) > SHARE else (low, middle)
    return float(np.exp(high))


def _at_most(asked: NDArray[np.int64], chances: NDArray[np.int64]) -> float:
    """The upper end of the share of chances at which phones ask, by its error over phones [n].

    It is a ratio of two sums over phones: Cochran, Sampling Techniques (1977), section 6.4.
    """
    n, share = len(asked), asked.sum() / chances.sum()
    error = np.sqrt(n / max(n - 1, 1) * np.square(asked - share * chances).sum()) / chances.sum()
    return float(share + _CERTAINTY * error)


def _low_rank(averages: Tensor, vectors: Tensor) -> tuple[Tensor, float]:
    """fp32 [N, f], [N, width] -> the map [f, d] whose output is a rotation of the predicted vector, and its error."""
    x, y = averages - averages.mean(dim=0), vectors - vectors.mean(dim=0)
    if not (x.any() and y.any() and x.isfinite().all() and y.isfinite().all()):
        raise NoShiftError(
            "in the validation data no device's samples differ from another's, or none that are finite: look at them "
            "with `mnet data show`"
        )
    gram = x.T @ x
    ridge = RIDGE * gram.diagonal().mean() * torch.eye(len(gram))
    try:
        full = torch.linalg.solve(gram + ridge, x.T @ y)
        directions = torch.linalg.svd(x @ full, full_matrices=False).Vh[:RANK].T
    except torch.linalg.LinAlgError as error:
        raise NoShiftError(
            f"the samples of the validation data vary too little to fit it ({error})"
        ) from None
    projection = full @ directions
    return projection, float((y - x @ projection @ directions.T).square().sum())
