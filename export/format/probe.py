"""The probe: 16 signed sums over all outputs of a model, which a phone's self-test must reproduce.

Each output of the first golden input is divided by its `scale` in the manifest; all of them, flattened and
concatenated, are N values v. With the 32-bit hash h(i),

    h = (i + 1) * 0x9E3779B1;  h ^= h >> 16;  h *= 0x85EBCA6B;  h ^= h >> 13;  h *= 0xC2B2AE35;  h ^= h >> 16

    probe[k] = sum_i (+v[i] where bit k of h(i) is 1, else -v[i]) / sqrt(N),   k = 0..15

in fp64. So every value of every output counts, none more than the others, and an error of one size in all values moves
a sum by about that size. A NaN or an infinity anywhere makes every sum one.
"""

import functools
import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

LENGTH = 16
_CHUNK = 1 << 14


def probe(outputs: Sequence[Tensor], scales: Sequence[float]) -> list[float]:
    """The 16 sums over `outputs` of any shapes and dtypes, each with its scale."""
    values = np.concatenate(
        [
            output.detach().reshape(-1).to("cpu", torch.float64).numpy() / scale
            for output, scale in zip(outputs, scales, strict=True)
        ]
    )
    sums = np.zeros(LENGTH)
    for start in range(0, len(values), _CHUNK):
        chunk = values[start : start + _CHUNK]
        # Infinities of both signs cancel to a NaN, which is what is wanted.
        with np.errstate(invalid="ignore"):
            sums += _signs(start, len(chunk)) @ chunk
    found: list[float] = (sums / math.sqrt(len(values))).tolist()
    return found


def distance(actual: Sequence[float], expected: Sequence[float]) -> float:
    """The largest difference of two probes, relative to the larger of 1 and the largest sum expected; inf for NaN."""
    if len(actual) != len(expected):
        return math.inf
    difference = max(abs(ours - theirs) for ours, theirs in zip(actual, expected, strict=True))
    largest = difference / max(1.0, *(abs(value) for value in expected))
    return largest if math.isfinite(largest) and all(map(math.isfinite, actual)) else math.inf


@functools.lru_cache(maxsize=64)
def _signs(start: int, count: int) -> NDArray[np.float64]:
    """±1 [16, count] for the values from index `start`."""
    h = np.arange(start + 1, start + count + 1, dtype=np.uint32) * np.uint32(0x9E3779B1)
    h ^= h >> np.uint32(16)
    h *= np.uint32(0x85EBCA6B)
    h ^= h >> np.uint32(13)
    h *= np.uint32(0xC2B2AE35)
    h ^= h >> np.uint32(16)
    bits = (h[None] >> np.arange(LENGTH, dtype=np.uint32)[:, None]) & np.uint32(1)
    return bits.astype(np.float64) * 2 - 1
