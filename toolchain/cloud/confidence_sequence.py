"""The difference of two means with an interval that holds at every moment, so that looking early misleads nobody.

I. Waudby-Smith, D. Arbour, R. Sinha, E. H. Kennedy and A. Ramdas, Time-uniform central limit theory and asymptotic
confidence sequences, Annals of Statistics 52 (2024), arXiv:2103.06476, theorem 2.2; the boundary is that of the normal
mixture, as in the mSPRT of R. Johari, P. Koomen, L. Pekelis and D. Walsh, Peeking at A/B tests, KDD 2017.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ALPHA = 0.05  # how often the true difference may ever be outside, over all looks
LEAST = 50  # devices in each group: the theory is of large samples
# Devices at which the interval is tightest; a choice that must not depend on the data (equation 11 there).
TIGHTEST_AT = 1000
_RHO2 = (-2 * math.log(ALPHA) + math.log(-2 * math.log(ALPHA) + 1)) / TIGHTEST_AT
# Of the values, so many at each end count as the next one: nobody vouches for what a single device says.
_PULLED_IN, _PULLED_IN_AT_LEAST = 0.001, 3

Means = NDArray[np.float64]


@dataclass(frozen=True)
class Difference:
    """Treated less held out; the interval is None while there is too little to say one."""

    difference: float
    interval: tuple[float, float] | None


def difference(treated: Means, held_out: Means) -> Difference:
    """The difference of the means of two groups of devices, one value a device, none of them empty."""
    pooled = np.sort(np.concatenate([treated, held_out]))
    end = min(max(_PULLED_IN_AT_LEAST, int(len(pooled) * _PULLED_IN)), (len(pooled) - 1) // 2)
    low, high = pooled[end], pooled[-1 - end]
    treated, held_out = treated.clip(low, high), held_out.clip(low, high)
    found = float(treated.mean() - held_out.mean())
    if min(len(treated), len(held_out)) < LEAST:
        return Difference(found, None)
    groups = treated, held_out
    within = sum(float(((group - group.mean()) ** 2).sum()) for group in groups) / (len(pooled) - 2)
    # No less than that of both together: a small group in which a rare thing has not happened yet varies too little.
    variance = sum(max(float(group.var(ddof=1)), within) / len(group) for group in groups)
    if variance == 0:
        return Difference(found, None)
    seen = len(pooled) * _RHO2
    half = math.sqrt(variance * (1 + 1 / seen) * (math.log1p(seen) - 2 * math.log(ALPHA)))
    return Difference(found, (found - half, found + half))
