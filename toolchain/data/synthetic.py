"""`synthetic-drift`: made-up users whose interests move. Seeded, needs no download, and says in its name what it is.

The catalogue is split into genres, each genre into styles. A user likes a few genres, in each of them one style, and
browses in sessions: a session stays in one genre, its items are mostly of the user's style there, and some items call
up a fixed successor. Interests wander (now and then a liked genre gives way to another one), and at one date, which the
data set names, a new trend takes over most of every user's interests at once.

So the last few items tell what the running session is about, and only a long history tells which genres and styles
the user comes back to: what a compact model with a short memory cannot know.
"""

from dataclasses import dataclass

import numpy as np

from toolchain.data.interactions import IntArray, Interactions, from_columns


@dataclass(frozen=True)
class SyntheticDrift:
    """The knobs of the generator; the defaults are the data set."""

    users: int = 500
    interactions: int = 160
    genres: int = 20
    styles: int = 4
    items_per_style: int = 6
    liked: int = 4
    session: float = 5.0
    in_style: float = 0.85
    successor: float = 0.2
    wander: float = 0.03
    drift_at: float = 0.85
    seed: int = 7


def load_synthetic_drift(spec: SyntheticDrift = SyntheticDrift()) -> Interactions:
    """Draw the data set; every interaction of a user is one hour after the one before, all users run in parallel."""
    rng = np.random.default_rng(spec.seed)
    genre_size = spec.styles * spec.items_per_style
    n_items = spec.genres * genre_size
    popularity = 1 / np.arange(1, spec.items_per_style + 1) ** 0.7
    popularity /= popularity.sum()
    fashion = rng.permutation(1 / np.arange(1, spec.genres + 1) ** 0.8)
    trend = fashion[rng.permutation(spec.genres)]
    successors = np.array(
        [rng.permutation(genre_size) + genre * genre_size for genre in range(spec.genres)]
    ).ravel()
    drift_step = round(spec.drift_at * spec.interactions)
    sequences = [
        _one_user(spec, rng, popularity, fashion / fashion.sum(), trend / trend.sum(), successors, drift_step)
        for _ in range(spec.users)
    ]
    users = np.repeat(np.arange(spec.users), spec.interactions)
    times = np.tile(np.arange(spec.interactions, dtype=np.int64) * 3600, spec.users)
    return from_columns(
        "synthetic-drift",
        users,
        np.concatenate(sequences) + 1,
        times,
        n_items=n_items,
        titles=tuple(
            f"genre {i // genre_size + 1}, style {i % genre_size // spec.items_per_style + 1}, item {i + 1}"
            for i in range(n_items)
        ),
        drift_time=drift_step * 3600,
    )


def _one_user(
    spec: SyntheticDrift,
    rng: np.random.Generator,
    popularity: np.ndarray,
    fashion: np.ndarray,
    trend: np.ndarray,
    successors: IntArray,
    drift_step: int,
) -> IntArray:
    """The item sequence (0-based) of one user."""
    genre_size = spec.styles * spec.items_per_style
    liked = list(rng.choice(spec.genres, spec.liked, replace=False, p=fashion))
    style = rng.integers(spec.styles, size=spec.genres)
    genre, item = int(rng.choice(liked)), -1
    sequence = np.empty(spec.interactions, dtype=np.int64)
    for step in range(spec.interactions):
        if step == drift_step:
            kept = liked[:1]
            others = np.where(np.isin(np.arange(spec.genres), liked), 0, trend)
            liked = kept + list(
                rng.choice(spec.genres, spec.liked - 1, replace=False, p=others / others.sum())
            )
            genre, item = int(rng.choice(liked)), -1
        elif rng.random() < 1 / spec.session:
            if rng.random() < spec.wander * spec.session:
                current = trend if step >= drift_step else fashion
                others = np.where(np.isin(np.arange(spec.genres), liked), 0, current)
                liked[rng.integers(spec.liked)] = rng.choice(spec.genres, p=others / others.sum())
            genre, item = int(rng.choice(liked)), -1
        if item >= 0 and rng.random() < spec.successor:
            item = int(successors[item])
        else:
            chosen = style[genre] if rng.random() < spec.in_style else rng.integers(spec.styles)
            rank = rng.choice(spec.items_per_style, p=popularity)
            item = int(genre * genre_size + chosen * spec.items_per_style + rank)
        sequence[step] = item
    return sequence
