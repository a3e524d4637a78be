"""Texts out of a user's own table: CSV, TSV or Parquet, a row for each, in the order of time."""

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from mnet.toolchain.data.texts import Texts
from mnet.toolchain.errors import UserError

DATA_SETS = {"text-table": "load_text_table"}

NAME = "text-table"
COLUMNS = {"device": "device", "text": "text"}


def load_text_table(file: Path | None = None, columns: Mapping[str, str] | None = None) -> Texts:
    """Read a table with a header; its other columns are not read. The texts of a device are in the order of its rows.

    Args:
        file: CSV, TSV or Parquet; a text in quotes may go over several lines.
        columns: the names of the columns `device` and `text` in the file, where they are others.

    Raises UserError.
    """
    if file is None or not file.is_file():
        raise UserError(
            f"{NAME}: {file or 'nothing'} is no file; give your CSV, TSV or Parquet with --data {NAME}=PATH"
        )
    if unknown := set(columns or {}) - set(COLUMNS):
        raise UserError(f"{NAME}: data.columns.{min(unknown)}: known are {', '.join(COLUMNS)}")
    names = COLUMNS | dict(columns or {})
    try:
        table = _read(file, list(names.values()))
    except (pa.ArrowException, OSError, KeyError) as error:
        raise UserError(f"{NAME}: {file}: cannot be read: {' '.join(str(error).split())}") from None
    rows = zip(*(table.column(names[meaning]).to_pylist() for meaning in COLUMNS), strict=True)
    pairs = []
    for row, (device, text) in enumerate(rows):
        if device in (None, "") or text is None:
            raise UserError(f"{NAME}: {file}: row {row + 1} after the header lacks its device or its text")
        pairs.append((device, text))
    return Texts.of(NAME, pairs)


def _read(file: Path, names: list[str]) -> pa.Table:
    if file.suffix.lower() in (".parquet", ".pq"):
        table = pa.parquet.read_table(file, columns=names)
    else:
        tabs = pa.csv.ParseOptions(
            delimiter="\t" if ".tsv" in file.suffixes else ",", newlines_in_values=True
        )
        kinds = pa.csv.ConvertOptions(
            include_columns=names, column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
        )
        table = pa.csv.read_csv(file, parse_options=tabs, convert_options=kinds)
    missing = [name for name in names if name not in table.column_names]
    if missing:
        raise KeyError(f"there is no column {missing[0]}")
    return table.cast(pa.schema({name: pa.string() for name in names}))
