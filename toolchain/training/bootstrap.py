"""How sure a difference between two methods is: a paired bootstrap over users and seeds."""

from collections.abc import Iterable, Sequence
from typing import Literal, TypedDict

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
# The resamples that are held at a time: how often each user was drawn in each of them, fp64.
COUNTS_BYTES = 64 * 2**20

FloatArray = NDArray[np.float64]


Kind = Literal["gain", "error reduction", "difference"]


class Gain(TypedDict):
    """What a method is worth over a baseline, with the 95 % percentile interval; `p` two-sided, of no difference.

    More is better in each `kind`: a `gain` is relative to the baseline, an `error reduction` is the share of its error
    that is gone, and a `difference` of the means is for metrics below zero, which are no multiple of each other.
    """

    kind: Kind
    relative: float
    low: float
    high: float
    p: float


def bootstrap_gain(
    users: NDArray[np.int64], baseline: FloatArray, method: FloatArray, seed: int = 0, lower: bool = False
) -> Gain | None:
    """Gain of `method` over `baseline`, paired by query; both fp64 [N], as of `bootstrap_gains`."""
    return bootstrap_gains(users, baseline[None, :, None], method[None, :, None], seed, [lower])[0]


def bootstrap_gains(
    users: NDArray[np.int64],
    baseline: FloatArray,
    method: FloatArray,
    seed: int = 0,
    lower: Sequence[bool] = (),
) -> list[Gain | None]:
    """Gains of `method` over `baseline`, a column each, from the same resamples; paired by query and seed.

    A resample draws whole users, since their queries hang together, and seeds, since a training is as much a matter of
    chance as who was tested (Davison and Hinkley 1997, section 3.8). With a single seed the interval is over users.
    None where the baseline never scores: nothing is a multiple of zero.

    Memory: the totals, 16 S K bytes a user, and 64 MiB; a resample of a million users takes 8 MB of these.

    Args:
        users: int64 [N], of each query.
        baseline, method: fp64 [S, N, K], K metrics of each query under each of S seeds.
        lower: of each metric, whether less of it is better; none is unless given.
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
    lower = lower or [False] * columns
    return [_gain(observed[:, k], sums[:, :, k], lower[k], len(users)) for k in range(columns)]


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


def _gain(totals: FloatArray, sums: FloatArray, lower: bool, queries: int) -> Gain | None:
    """`totals` [2] of baseline and method, `sums` [resamples, 2] the same of each resample."""
    if not (totals[0] or lower):
        return None
    kind: Kind = "error reduction" if lower else "gain"
    if totals[0] <= 0 or (sums < 0).any():
        kind = "difference"
    else:
        sums = sums[sums[:, 0] > 0]
    gains, observed = (_worth(kind, lower, queries, of) for of in (sums, totals[None]))
    low, high = np.percentile(gains, (2.5, 97.5))
    p = min(1.0, 2 * max(min((gains <= 0).mean(), (gains >= 0).mean()), 1 / RESAMPLES))
    return {
        "kind": kind,
        "relative": float(observed[0]),
        "low": float(low),
        "high": float(high),
        "p": float(p),
    }


def _worth(kind: Kind, lower: bool, queries: int, sums: FloatArray) -> FloatArray:
    """Sums of baseline and method [..., 2] -> what the method is worth, [...]."""
    base, ours = sums.T
    worth: FloatArray = (ours - base) / queries if kind == "difference" else ours / base - 1
    return -worth if lower else worth


def gain_text(gain: Gain | None) -> str:
    """A gain for people, as `+7.0% [+4.8%, +9.3%]`; a difference as the number that it is."""
    if gain is None:
        return "undefined"
    form = "+.4g" if gain["kind"] == "difference" else "+.1%"
    return f"{gain['relative']:{form}} [{gain['low']:{form}}, {gain['high']:{form}}]"


def gain_heading(gains: Iterable[Gain | None], baseline: str) -> str:
    """What a column of these gains is called."""
    kinds: set[str] = {gain["kind"] for gain in gains if gain is not None}
    kind = kinds.pop() if len(kinds) == 1 else "difference" if kinds else "gain"
    return f"{kind} {'to' if kind == 'difference' else 'over'} {baseline}"
