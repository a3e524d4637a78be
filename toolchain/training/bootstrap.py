"""How sure a difference between two methods is: a paired bootstrap over users."""

from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
CHUNK = 250  # resamples at a time: their counts are a matrix over all users

FloatArray = NDArray[np.float64]


class Gain(TypedDict):
    """`relative` to the baseline, with the 95 % percentile interval over users; `p` two-sided, of no difference."""

    relative: float
    low: float
    high: float
    p: float


def bootstrap_gain(
    users: NDArray[np.int64], baseline: FloatArray, method: FloatArray, seed: int = 0
) -> Gain | None:
    """Relative gain of `method` over `baseline`, paired by query; both fp64 [N], as of `bootstrap_gains`."""
    return bootstrap_gains(users, baseline[:, None], method[:, None], seed)[0]


def bootstrap_gains(
    users: NDArray[np.int64], baseline: FloatArray, method: FloatArray, seed: int = 0
) -> list[Gain | None]:
    """Relative gains of `method` over `baseline`, a column each, from the same resamples; paired by query.

    None where the baseline never scores: nothing is a multiple of zero.

    Args:
        users: int64 [N], of each query; a resample draws whole users, since their queries hang together.
        baseline, method: fp64 [N, K], K metrics of each query.
    """
    _, index = np.unique(users, return_inverse=True)
    totals = np.stack([np.bincount(index, column) for column in (*baseline.T, *method.T)], axis=1)
    rng, n_users = np.random.default_rng(seed), len(totals)
    even = np.full(n_users, 1 / n_users)
    sums = np.concatenate(
        [
            rng.multinomial(n_users, even, size=CHUNK).astype(np.float64) @ totals
            for _ in range(RESAMPLES // CHUNK)
        ]
    )
    columns = baseline.shape[1]
    return [_gain(totals[:, [k, columns + k]].sum(axis=0), sums[:, [k, columns + k]]) for k in range(columns)]


def _gain(totals: FloatArray, sums: FloatArray) -> Gain | None:
    """`totals` [2] of baseline and method, `sums` [resamples, 2] the same of each resample."""
    if not totals[0]:
        return None
    base, ours = sums[sums[:, 0] > 0].T
    gains = ours / base - 1
    low, high = np.percentile(gains, (2.5, 97.5))
    p = min(1.0, 2 * max(min((gains <= 0).mean(), (gains >= 0).mean()), 1 / RESAMPLES))
    return {
        "relative": float(totals[1] / totals[0] - 1),
        "low": float(low),
        "high": float(high),
        "p": float(p),
    }


def gain_text(gain: Gain | None) -> str:
    """A gain for people, as `+7.0% [+4.8%, +9.3%]`."""
    return (
        "undefined" if gain is None else f"{gain['relative']:+.1%} [{gain['low']:+.1%}, {gain['high']:+.1%}]"
    )
