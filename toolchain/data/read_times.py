"""Times as files have them, exactly: numbers, dates as ISO 8601 writes them, timestamps of Parquet."""

import re
from collections.abc import Sequence
from decimal import ROUND_FLOOR, Decimal
from typing import Any, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from mnet.toolchain.data.interactions import IntArray

UNITS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_LAST = 2**63 - 1  # nanoseconds from 1970: the year 2262
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", re.ASCII)


class NoTime(ValueError):
    """What is wrong with a time; `row` is where it stands, None where it is the whole column."""

    def __init__(self, what: str, row: int | None = None) -> None:
        super().__init__(what)
        self.row = row


def is_text(kind: pa.DataType) -> bool:
    """Whether a column is of text."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def is_number(text: str) -> bool:
    """Whether a time is a plain number, and not a date."""
    return bool(_NUMBER.fullmatch(text))


def nanoseconds(values: pa.ChunkedArray, unit: str) -> IntArray:
    """Times, none of them missing -> nanoseconds since 1970, int64 [N]; of finer ones the part before.

    `unit` is that of plain numbers, one of `UNITS`; dates without a zone are in UTC. Raises NoTime.
    """
    kind, factor = values.type, UNITS[unit]
    if is_text(kind):
        if not is_number(values[0].as_py()):
            return _from_dates(values, unit)
        if not pc.all(pc.match_substring_regex(values, "^-?[0-9]{1,18}$")).as_py():
            return _from_decimals(values.to_pylist(), unit)
        values = values.cast(pa.int64())
    elif pa.types.is_decimal(kind):
        return _from_decimals([str(value) for value in values.to_pylist()], unit)
    elif pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        try:
            stamps = values.cast(pa.timestamp("ns", kind.tz if pa.types.is_timestamp(kind) else None))
        except pa.ArrowException as error:
            raise NoTime(f"column time: {error}") from None
        return cast(IntArray, stamps.cast(pa.int64()).to_numpy())
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise NoTime(f"column time is of type {kind}; times are numbers, dates or timestamps")
    numbers = values.to_numpy()
    limit = _LAST // factor
    if numbers.dtype.kind == "f":
        numbers = numbers.astype(np.float64)
        _check(~(np.abs(numbers) < limit), numbers, unit)
        return np.floor(numbers * factor).astype(np.int64)
    _check((numbers > limit) | (numbers < -limit), numbers, unit)
    return numbers.astype(np.int64) * factor


def _check(wrong: Any, values: Sequence[Any] | Any, unit: str) -> None:
    if not np.any(wrong):
        return
    row = int(np.argmax(wrong))
    text = str(values[row])
    if not is_number(text):
        raise NoTime(
            f"time {text!r} is neither a number nor a date such as 2026-01-31 or 2026-01-31T12:00:00Z", row
        )
    fits = [other for other, factor in UNITS.items() if abs(Decimal(text)) <= _LAST // factor]
    hint = f"; if it is in {fits[0]}, set data.time_unit={fits[0]}" if fits else ""
    raise NoTime(f"time {text} in {unit} is beyond the year 2262{hint}", row)


def _from_decimals(texts: list[str], unit: str) -> IntArray:
    """Numbers in decimal, exactly."""
    _check(np.array([not is_number(text) for text in texts]), texts, unit)
    factor, numbers = UNITS[unit], [Decimal(text) for text in texts]
    _check(np.array([abs(number) > _LAST // factor for number in numbers]), texts, unit)
    return np.array([int((x * factor).to_integral_value(ROUND_FLOOR)) for x in numbers], dtype=np.int64)


def _from_dates(values: pa.ChunkedArray, unit: str) -> IntArray:
    text = values.to_pandas().astype(object)
    dates = pd.to_datetime(text, format="ISO8601", utc=True, errors="coerce")
    dates = dates.where(text.str.match(r"[0-9]{4}-[0-9]{2}"))
    _check(dates.isna().to_numpy(), text, unit)
    try:
        return cast(IntArray, dates.dt.as_unit("ns").astype(np.int64).to_numpy())
    except pd.errors.OutOfBoundsDatetime as error:
        raise NoTime(f"column time: {error}: dates reach from 1678 to 2262") from None
