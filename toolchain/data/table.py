"""Interactions out of tables: CSV, TSV and Parquet with the columns user, item and, where there is one, time."""

from pathlib import Path

import numpy as np
import pandas as pd

from mnet.toolchain.data.interactions import Interactions, from_columns
from mnet.toolchain.errors import UserError

NAME = "table"


def load_table(file: Path | None = None) -> Interactions:
    """Read a table with a header; its other columns are left alone.

    Users and items may be anything: numbers or text. `time` is in seconds, or a date as ISO 8601 has it; without
    it the rows of a user must be in time order, and the set has no dates. Raises UserError.
    """
    if file is None or not file.is_file():
        raise UserError(
            f"{NAME}: {file or 'nothing'} is no file; give your CSV, TSV or Parquet with --data {NAME}=PATH"
        )
    try:
        table = _read(file)
    except (ValueError, OSError, pd.errors.ParserError) as error:
        raise UserError(f"{NAME}: cannot read {file}: {' '.join(str(error).split())}") from None
    missing = [column for column in ("user", "item") if column not in table]
    if missing:
        raise UserError(
            f"{NAME}: {file} has no column {' and no column '.join(missing)}; it has {', '.join(table.columns)}"
        )
    return _from_table(NAME, file, table)


def read_undated(name: str, file: Path) -> Interactions:
    """Read `user item` a line, without a header, in time order for each user. Raises UserError."""
    try:
        table = pd.read_csv(file, sep=r"\s+", header=None, names=["user", "item"], dtype=np.int64)
    except (ValueError, pd.errors.ParserError) as error:
        raise UserError(f"{name}: {file}: expected two numbers a line, user and item: {error}") from None
    return _from_table(name, file, table)


def _read(file: Path) -> pd.DataFrame:
    if file.suffix == ".parquet":
        return pd.read_parquet(file)
    return pd.read_csv(file, sep="\t" if file.suffix == ".tsv" else ",")


def _from_table(name: str, file: Path, table: pd.DataFrame) -> Interactions:
    for column in table.columns.intersection(["user", "item", "time"]):
        empty = table[column].isna()
        if empty.any():
            raise UserError(f"{name}: {file}, row {int(empty.argmax()) + 1}: there is no {column}")
    if table.empty:
        raise UserError(f"{name}: {file} holds no interactions")
    users, _ = pd.factorize(table["user"])
    items, item_ids = pd.factorize(table["item"], sort=True)
    dated = "time" in table
    return from_columns(
        name,
        users.astype(np.int64),
        items.astype(np.int64) + 1,
        _seconds(name, file, table["time"]) if dated else np.arange(len(table), dtype=np.int64),
        n_items=len(item_ids),
        titles=tuple(str(item) for item in item_ids),
        dated=dated,
    )


def _seconds(name: str, file: Path, times: pd.Series) -> np.ndarray:
    if pd.api.types.is_numeric_dtype(times):
        return times.to_numpy().astype(np.int64)
    try:
        dates = pd.to_datetime(times, format="ISO8601", utc=True)
    except ValueError as error:
        raise UserError(f"{name}: {file}: time is neither in seconds nor a date: {error}") from None
    return dates.dt.as_unit("s").astype(np.int64).to_numpy()
