"""Data sets by name. A new one is one new module here, which names its loader in `DATA_SETS`."""

import inspect
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from mnet.toolchain.builtin import data_sets
from mnet.toolchain.data.interactions import Interactions
from mnet.toolchain.errors import UserError
from mnet.toolchain.settings import find_part

__all__ = ["DataSet", "Interactions", "Pictures", "load_data_set", "load_interactions"]


class DataSet(Protocol):
    """What every data set offers, in addition to what its task reads."""

    @property
    def name(self) -> str: ...

    def summary(self) -> dict[str, int | str]:
        """What there is, in numbers."""
        ...


@runtime_checkable
class Pictures(DataSet, Protocol):
    """A data set to look at."""

    def contact_sheet(self, file: Path) -> None:
        """Write a PNG of some of its pictures."""
        ...


def load_data_set(name: str, path: Path | None = None, **settings: Any) -> DataSet:
    """The data set `name`: a built-in one, or what `package.module:function` makes of `path` and its `settings`.

    Raises UserError.
    """
    load = find_part(name, data_sets(), "data set")
    try:
        inspect.signature(load).bind(path, **settings)
    except TypeError as error:
        raise UserError(f"data: {name} does not take these settings: {error}") from None
    data: DataSet = load(path, **settings)
    return data


def load_interactions(name: str, path: Path | None = None, **settings: Any) -> Interactions:
    """The data set `name`, which must be one of interactions. Raises UserError."""
    data = load_data_set(name, path, **settings)
    if not isinstance(data, Interactions):
        raise UserError(f"{name} is no set of interactions between users and items")
    return data
