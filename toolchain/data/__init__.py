"""Data sets by name. A new one is a module here and a line in `DATASETS`."""

from collections.abc import Callable
from pathlib import Path

from toolchain.data.interactions import Interactions
from toolchain.data.movielens import load_movielens_100k
from toolchain.data.synthetic import load_synthetic_drift
from toolchain.errors import UserError

__all__ = ["DATASETS", "Interactions", "load_interactions"]


def _synthetic_drift(path: Path | None) -> Interactions:
    if path is not None:
        raise UserError(f"synthetic-drift is made up on the spot and reads no file; drop {path}")
    return load_synthetic_drift()


DATASETS: dict[str, Callable[[Path | None], Interactions]] = {
    "synthetic-drift": _synthetic_drift,
    "movielens-100k": load_movielens_100k,
}


def load_interactions(name: str, path: Path | None = None) -> Interactions:
    """Load the data set `name`, from `path` where one is given. Raises UserError."""
    if name not in DATASETS:
        raise UserError(f"unknown data set {name!r}; there are {', '.join(DATASETS)}")
    return DATASETS[name](path)
