"""How sure a difference between two methods is: a paired bootstrap over users and seeds."""

from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
# The resamples that are held at a time: how often each user was drawn in each of them, fp64.
COUNTS_BYTES = 64 * 2**20

FloatArray = NDArray[np.float64]


class Gain(TypedDict):
    """`relative` to the baseline, with the 95 % percentile interval; `p` two-sided, of no difference."""

    relative: float
    low: float
    high: float
    p: float


def bootstrap_gain(
    users: NDArray[np.int64], baseline: FloatArray, method: FloatArray, seed: int = 0
) -> Gain | None:
    """Relative gain of `method` over `baseline`, paired by query; both fp64 [N], as of `bootstrap_gains`."""
    return bootstrap_gains(users, baseline[None, :, None], method[None, :, None], seed)[0]


def bootstrap_gains(
    users: NDArray[np.int64], baseline: FloatArray, method: FloatArray, seed: int = 0
) -> list[Gain | None]:
    """Relative gains of `method` over `baseline`, a column each, from the same resamples; paired by query and seed.

    A resample draws whole users, since their queries hang together, and seeds, since a training is as much a matter of
    chance as who was tested (Davison and Hinkley 1997, section 3.8). With a single seed the interval is over users.
    None where the baseline never scores: nothing is a multiple of zero.

    Memory: the totals, 16 S K bytes a user, and 64 MiB; a resample of a million users takes 8 MB of these.

    Args:
        users: int64 [N], of each query.
        baseline, method: fp64 [S, N, K], K metrics of each query under each of S seeds.
    """
    seeds, _, columns = baseline.shape
    _, index = np.unique(users, return_inverse=True)
    totals: FloatArray = np.stack(
        [
            np.bincount(index, column)
            for side in (baseline, method)
            for of_seed in side
            for column in of_seed.T
        ],
        axis=1,
    )
    rng, n_users = np.random.default_rng(seed), len(totals)
    sums = np.concatenate([_resampled(totals, count, seeds, rng) for count in _chunks(n_users)])
    observed = totals.sum(axis=0).reshape(2, seeds, columns).mean(axis=1)
    return [_gain(observed[:, k], sums[:, :, k]) for k in range(columns)]


def _chunks(n_users: int) -> list[int]:
    """How many resamples to draw at a time."""
    most = max(1, min(RESAMPLES, COUNTS_BYTES // (8 * n_users)))
    return [min(most, RESAMPLES - start) for start in range(0, RESAMPLES, most)]


def _resampled(totals: FloatArray, count: int, seeds: int, rng: np.random.Generator) -> FloatArray:
    """`totals` [users, 2 * S * K] -> the sums of `count` resamples, [count, 2, K], averaged over the seeds drawn."""
    drawn = rng.multinomial(len(totals), np.full(len(totals), 1 / len(totals)), size=count)
    sums = (drawn.astype(np.float64) @ totals).reshape(count, 2, seeds, -1)
    of_seed = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=count) / seeds
    return np.einsum("rs,rbsk->rbk", of_seed, sums)


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
