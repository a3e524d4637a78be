"""`synthetic-drift`: made-up users whose interests move. Seeded, needs no download, and says in its name what it is.

The catalogue is split into niches. A user likes a few niches; each interaction stays in the niche of the one before,
or goes back to any liked niche, or just follows the fashion. Interests wander: a liked niche gives way to another
one. And at one date, which the data set names, a new trend replaces most of every user's interests at once.

So the last few items show what the user is after right now, and only a long history shows what the user keeps coming
back to: that is what a compact model with a short memory cannot know.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mnet.toolchain.data.interactions import Interactions, from_columns
from mnet.toolchain.errors import UserError

DATA_SETS = {"synthetic-drift": "load_synthetic_drift"}

HOUR = 3600


@dataclass(frozen=True)
class SyntheticDrift:
    """What the data set is drawn from; the defaults are the data set.

    Attributes:
        liked: niches that a user likes at any time.
        stay: chance that an interaction stays in the niche of the one before.
        noise: chance that an interaction is nothing but fashion: a niche that is popular at the time.
        wander: chance, at each interaction, that one interest gives way to another.
        upheaval: chance, at each interaction, that all interests but `kept` do.
        drift_at: where the trend sets in, in parts of a user's interactions.
        kept: interests that a user keeps then, and in an upheaval.
    """

    users: int = 1500
    interactions: int = 120
    niches: int = 50
    items_per_niche: int = 6
    liked: int = 5
    stay: float = 0.1
    noise: float = 0.4
    wander: float = 0.01
    upheaval: float = 0.007
    drift_at: float = 0.8
    kept: int = 1
    seed: int = 7


def load_synthetic_drift(path: Path | None = None, users: int = SyntheticDrift.users) -> Interactions:
    """The data set as its defaults describe it, with so many users. Raises UserError for any path."""
    if path is not None:
        raise UserError(f"synthetic-drift is made up on the spot and reads no file; drop {path}")
    if type(users) is not int or not 20 <= users <= 100_000:
        raise UserError(f"synthetic-drift: data.users is a number from 20 to 100000, not {users!r}")
    return draw_synthetic_drift(SyntheticDrift(users=users))


def draw_synthetic_drift(spec: SyntheticDrift) -> Interactions:
    """Draw a data set. All users run side by side, one interaction an hour."""
    rng = np.random.default_rng(spec.seed)
    fashion = rng.permutation(_zipf(spec.niches, 0.3))
    trend = fashion.max() + fashion.min() - fashion  # what was rare becomes popular
    popularity = _zipf(spec.items_per_niche, 2.0)
    drift_step = round(spec.drift_at * spec.interactions)

    everyone = np.arange(spec.users)
    liked = _draw_distinct(rng, fashion, spec.users, spec.liked)
    current = liked[:, 0]
    items = np.empty((spec.users, spec.interactions), dtype=np.int64)
    for step in range(spec.interactions):
        wanted = trend if step >= drift_step else fashion
        turned = rng.random(spec.users) < (1 if step == drift_step else spec.upheaval)
        liked[turned, spec.kept :] = _draw_distinct(rng, wanted, turned.sum(), spec.liked - spec.kept)
        moved = rng.random(spec.users) < spec.wander
        liked[moved, rng.integers(spec.liked, size=moved.sum())] = _draw(rng, wanted, moved.sum())
        back = liked[everyone, rng.integers(spec.liked, size=spec.users)]
        current = np.where(rng.random(spec.users) < spec.stay, current, back)
        niche = np.where(rng.random(spec.users) < spec.noise, _draw(rng, wanted, spec.users), current)
        items[:, step] = niche * spec.items_per_niche + _draw(rng, popularity, spec.users)

    n_items = spec.niches * spec.items_per_niche
    return from_columns(
        "synthetic-drift",
        np.repeat(everyone, spec.interactions),
        items.ravel() + 1,
        np.tile(np.arange(spec.interactions) * HOUR, spec.users),
        n_items=n_items,
        titles=tuple(f"niche {i // spec.items_per_niche + 1}, item {i + 1}" for i in range(n_items)),
        drift_time=drift_step * HOUR,
    )


def _zipf(count: int, exponent: float) -> NDArray[np.float64]:
    weights = 1 / np.arange(1, count + 1) ** exponent
    return weights / weights.sum()


def _draw(rng: np.random.Generator, weights: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    return rng.choice(len(weights), size=count, p=weights / weights.sum())


def _draw_distinct(
    rng: np.random.Generator, weights: NDArray[np.float64], rows: int, columns: int
) -> NDArray[np.int64]:
    """int64 [rows, columns], no number twice in a row: the smallest of exponential waiting times with these rates."""
    return np.argsort(rng.exponential(1 / weights, size=(rows, len(weights))), axis=1)[:, :columns]
