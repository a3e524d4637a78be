"""Interactions out of delimited text and Parquet: read as they are written, or refused by file and line.

An id is text, digit for digit: `007` is not `7`, and `NA` is an id like any other; only an empty cell is missing. A
file says by its own header what its columns are. Nothing is skipped but empty lines at the end.
"""

import bz2
import csv
import gzip
import lzma
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from io import BufferedIOBase
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mnet.toolchain.data.interactions import IntArray, Interactions, from_columns
from mnet.toolchain.data.memory import PARQUET, TEXT, warn_of_memory
from mnet.toolchain.data.read_times import NoTime, is_number, is_text, nanoseconds
from mnet.toolchain.errors import UserError

_OPEN: dict[str, Callable[[Path], Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_HEAD = 1 << 13  # bytes to tell the length of a line by
_CHUNK = 1_000_000  # rows: as many are Python objects at a time
_WHOLE = "^(0|[1-9][0-9]{0,17})$"  # ids that are ordered by their value


class _Columns(NamedTuple):
    """Columns user, item and perhaps time, `at` names the place of a row; `names` are all that the file has."""

    table: dict[str, pa.ChunkedArray]
    at: Callable[[int], str]
    names: Sequence[str]


def read_interactions(
    name: str,
    file: Path,
    columns: Mapping[str, str],
    *,
    time_unit: str = "s",
    header: Sequence[str] | None = None,
    delimiter: str | None = None,
) -> Interactions:
    """The interactions in a file: CSV, TSV (also with `.gz`, `.bz2`, `.xz`) or Parquet, as its ending says.

    Args:
        name: of the data set, for messages.
        file: where it lies.
        columns: what stands in it for `user`, `item` and `time`. Without a time the rows are in the order of time.
        time_unit: of times that are plain numbers: s, ms, us or ns since 1970.
        header: the columns, where the file has no header of its own.
        delimiter: between cells; None: a tab where the header has one, else a comma.

    Items are numbered in the order of their ids: whole numbers by value, then text. Raises UserError.
    """

    def refuse(where: str, what: str) -> NoReturn:
        raise UserError(f"{name}: {file}{where}: {what}")

    try:
        if _ending(file) in (".parquet", ".pq"):
            found = _read_parquet(file, columns, refuse)
        else:
            found = _read_text(file, columns, header, delimiter, refuse)
    except (pa.ArrowException, OSError, EOFError, lzma.LZMAError, zlib.error, MemoryError) as error:
        refuse("", f"cannot be read: {' '.join(str(error).split()) or type(error).__name__}")
    if not len(found.table["user"]):
        refuse("", "holds no interactions")
    users, user_ids = _numbered(found, "user", refuse)
    items, item_ids = _numbered(found, "item", refuse)
    dated = "time" in found.table
    exact = _times(found, time_unit, refuse) if dated else np.arange(len(users), dtype=np.int64)
    return from_columns(
        name,
        users,
        items + 1,
        exact // 10**9 if dated else exact,
        exact=exact,
        n_items=len(item_ids),
        user_ids=user_ids,
        item_ids=item_ids,
        titles=item_ids,
        dated=dated,
        columns=_understood(found, columns, time_unit),
    )


def _understood(found: _Columns, columns: Mapping[str, str], time_unit: str) -> str:
    """Which column was read as what, for a person to see a mistake."""
    kinds = {meaning: _kind(values, meaning, time_unit) for meaning, values in found.table.items()}
    read = [f"{meaning}: {columns[meaning]} ({kind})" for meaning, kind in kinds.items()]
    rest = [name for name in found.names if name not in {columns[meaning] for meaning in kinds}]
    return "; ".join([*read, *([f"not read: {', '.join(rest)}"] if rest else [])])


def _kind(values: pa.ChunkedArray, meaning: str, time_unit: str) -> str:
    if not is_text(values.type):
        plain = pa.types.is_integer(values.type) or pa.types.is_floating(values.type)
        return f"{values.type}, {time_unit} since 1970" if meaning == "time" and plain else str(values.type)
    if meaning == "time":
        return f"numbers, {time_unit} since 1970" if is_number(values[0].as_py()) else "dates, UTC"
    whole = pc.all(pc.match_substring_regex(values, _WHOLE)).as_py()
    return "whole numbers" if whole else "text"


Refuse = Callable[[str, str], NoReturn]


def _ending(file: Path) -> str:
    """What kind of file it is, by its name less that of a compression."""
    endings = [ending.lower() for ending in file.suffixes]
    while endings and endings[-1] in _OPEN:
        endings.pop()
    return endings[-1] if endings else ""


def _find(columns: Mapping[str, str], header: Sequence[str], refuse: Refuse) -> dict[str, int]:
    """Where in the header the columns stand that are asked for."""
    found = {}
    for meaning, column in columns.items():
        if (count := header.count(column)) > 1:
            refuse("", f"has {count} columns called {column}; which of them is the {meaning}?")
        if count:
            found[meaning] = header.index(column)
        elif meaning != "time" or column != "time":  # a time of the usual name may be absent
            have = ", ".join(header)[:200]
            refuse(
                "", f"has no column {column}; it has {have}. Say which is which with data.columns.{meaning}"
            )
    return found


def _read_text(
    file: Path,
    columns: Mapping[str, str],
    header: Sequence[str] | None,
    delimiter: str | None,
    refuse: Refuse,
) -> _Columns:
    number, line = 0, ""

    def lines(stream: BufferedIOBase) -> Iterator[str]:
        nonlocal number, line
        for number, raw in enumerate(stream, start=1):
            try:
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError:
                refuse(f", line {number}", "is not UTF-8 text")
            yield line

    with _OPEN.get(file.suffix.lower(), open)(file, "rb") as stream:
        head = stream.peek(_HEAD)
        rows_about = (
            file.stat().st_size * head.count(b"\n") // max(len(head), 1)
        )  # at least, of what is packed
        warn_of_memory(file, rows_about, TEXT)
        texts = lines(stream)
        first = next(texts, "")
        delimiter = delimiter or ("\t" if "\t" in first else ",")
        rows = csv.reader(
            chain([first], texts),
            delimiter=delimiter,
            quoting=csv.QUOTE_MINIMAL if header is None else csv.QUOTE_NONE,
            strict=True,
        )
        try:
            names = list(header) if header else [column.strip() for column in next(rows, [])]
            if _ending(file) == ".inter":  # RecBole's: `user_id:token`
                names = [column.partition(":")[0] for column in names]
            places = _find(columns, names, refuse)
            cells: dict[str, list[str]] = {meaning: [] for meaning in places}
            chunks: dict[str, list[pa.Array]] = {meaning: [] for meaning in places}
            at, blank, before = [], 0, 1 - bool(header)
            width, wanted = len(names), [(cells[meaning].append, place) for meaning, place in places.items()]
            for row in rows:
                if not row:
                    blank = blank or number
                    before = number
                    continue
                if blank:
                    refuse(f", line {blank}", "is empty, and there are rows after it")
                if len(row) != width:
                    refuse(f", line {before + 1}", f"has {len(row)} cells, not {width} ({', '.join(names)})")
                if number > before + 1 and _swallows(row, delimiter, width):
                    refuse(
                        f", line {before + 1}",
                        f"opens a quote that is closed in line {number}: rows between?",
                    )
                for append, place in wanted:
                    append(row[place])
                at.append(before + 1)
                before = number
                if len(at) % _CHUNK == 0:
                    _pack(cells, chunks)
        except csv.Error as error:
            refuse(f", line {number}", f"is no row of a table: {error}")
    _pack(cells, chunks)
    table = {meaning: pa.chunked_array(parts, pa.large_string()) for meaning, parts in chunks.items()}
    return _Columns(table, lambda row: f", line {at[row]}", names)


def _pack(cells: dict[str, list[str]], chunks: dict[str, list[pa.Array]]) -> None:
    for meaning, values in cells.items():
        chunks[meaning].append(pa.array(values, pa.large_string()))
        values.clear()


def _swallows(row: Sequence[str], delimiter: str, width: int) -> bool:
    """Whether a cell over several lines holds what look like rows: a stray quote makes one cell of them."""
    return any(
        line.count(delimiter) >= width - 1 for cell in row if "\n" in cell for line in cell.split("\n")
    )


def _read_parquet(file: Path, columns: Mapping[str, str], refuse: Refuse) -> _Columns:
    source = pq.ParquetFile(file, page_checksum_verification=True)
    warn_of_memory(file, source.metadata.num_rows, PARQUET)
    places = _find(columns, source.schema_arrow.names, refuse)
    table = source.read(columns=[columns[meaning] for meaning in places])
    table.validate(full=True)
    found = {meaning: table[columns[meaning]] for meaning in places}
    found = {
        meaning: values.cast(values.type.value_type) if pa.types.is_dictionary(values.type) else values
        for meaning, values in found.items()
    }
    return _Columns(found, lambda row: f", row {row + 1}", source.schema_arrow.names)


def _check_present(found: _Columns, values: pa.ChunkedArray, column: str, refuse: Refuse) -> None:
    missing = pc.fill_null(pc.equal(values, ""), True) if is_text(values.type) else pc.is_null(values)
    if pc.any(missing).as_py():
        refuse(found.at(missing.index(True).as_py()), f"there is no {column}")


def _times(found: _Columns, unit: str, refuse: Refuse) -> IntArray:
    """The times in nanoseconds since 1970, int64 [N]."""
    values = found.table["time"]
    _check_present(found, values, "time", refuse)
    try:
        return nanoseconds(values, unit)
    except NoTime as error:
        refuse("" if error.row is None else found.at(error.row), str(error))


def _numbered(found: _Columns, column: str, refuse: Refuse) -> tuple[IntArray, tuple[str, ...]]:
    """Each row's number among the ids in their order, int64 [N], and these ids."""
    values = found.table[column]
    if not _may_be_ids(values.type):
        refuse("", f"column {column} is of type {values.type}; ids are text or whole numbers")
    _check_present(found, values, column, refuse)
    encoded = values.combine_chunks().dictionary_encode()  # each id is looked at once, not in each row
    own = _as_text(encoded.dictionary, column, refuse).dictionary_encode()  # -0.0 and 0.0 are one id
    ids = own.dictionary
    whole = pc.match_substring_regex(ids, _WHOLE).to_numpy(zero_copy_only=False)
    by_value = np.flatnonzero(whole)[ids.filter(pa.array(whole)).cast(pa.int64()).to_numpy().argsort()]
    by_text = np.flatnonzero(~whole)[pc.sort_indices(ids.filter(pa.array(~whole))).to_numpy()]
    order = np.concatenate([by_value, by_text])
    rank = np.empty(len(ids), dtype=np.int64)
    rank[order] = np.arange(len(ids))
    in_order = ids.take(pa.array(order)).to_pylist()
    return rank[own.indices.to_numpy()][encoded.indices.to_numpy()], tuple(in_order)


def _may_be_ids(kind: pa.DataType) -> bool:
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    return bool(number or is_text(kind) or pa.types.is_null(kind))


def _as_text(values: pa.Array, column: str, refuse: Refuse) -> pa.Array:
    """Ids as text: text as it is, whole numbers in digits."""
    kind = values.type
    try:
        if pa.types.is_floating(kind):
            values = values.cast(pa.float64())
            if pc.any(pc.greater(pc.abs(values), 2.0**53)).as_py():
                refuse(
                    "",
                    f"column {column} has numbers over 2^53 with a floating point: their last digits are lost",
                )
            values = values.cast(pa.int64())
        elif pa.types.is_decimal(kind):
            values = values.cast(pa.decimal256(76, 0))
        return values.cast(pa.large_string())
    except pa.ArrowException:
        refuse("", f"column {column} is of type {kind}; ids are text or whole numbers")
