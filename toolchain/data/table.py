"""Interactions out of a user's own table: CSV, TSV or Parquet, a row for each."""

from collections.abc import Mapping
from pathlib import Path

from mnet.toolchain.data.interactions import Interactions
from mnet.toolchain.data.read_table import read_interactions
from mnet.toolchain.data.read_times import UNITS
from mnet.toolchain.errors import UserError

DATA_SETS = {"table": "load_table"}

NAME = "table"
COLUMNS = {"user": "user", "item": "item", "time": "time"}


def load_table(
    file: Path | None = None, columns: Mapping[str, str] | None = None, time_unit: str = "s"
) -> Interactions:
    """Read a table with a header; its other columns are not read.

    Users and items are text or whole numbers. A time is a number (`time_unit` since 1970: s, ms, us or ns) or a date
    as ISO 8601 has it; without one the rows of a user must be in the order of time, and the set has no dates.

    Args:
        file: CSV, TSV or Parquet.
        columns: the names of the columns `user`, `item` and `time` in the file, where they are others.
        time_unit: of times that are numbers.

    Raises UserError that names file and line.
    """
    if file is None or not file.is_file():
        raise UserError(
            f"{NAME}: {file or 'nothing'} is no file; give your CSV, TSV or Parquet with --data {NAME}=PATH"
        )
    if unknown := set(columns or {}) - set(COLUMNS):
        raise UserError(f"{NAME}: data.columns.{min(unknown)}: known are {', '.join(COLUMNS)}")
    if time_unit not in UNITS:
        raise UserError(f"{NAME}: data.time_unit is one of {', '.join(UNITS)}, not {time_unit}")
    return read_interactions(NAME, file, COLUMNS | dict(columns or {}), time_unit=time_unit)
