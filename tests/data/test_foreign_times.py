"""Times of other programs: they keep their precision and their range, or the table is refused by line."""

from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest

from mnet.toolchain.errors import UserError
from tests.data.test_foreign_tables import csv, parquet, rows


@pytest.mark.parametrize(
    "times",
    [
        ("10.9", "10.1", "10.5"),
        ("1e1", "9.1e0", "9.5e0"),
        ("1700000000.000000003", "1700000000.000000001", "1700000000.000000002"),
        ("2026-01-01T00:00:00.900Z", "2026-01-01T00:00:00.100Z", "2026-01-01T00:00:00.500Z"),
        ("2026-01-01T03:00:00+02:00", "2026-01-01 00:30", "2026-01-01T00:45Z"),
    ],
)
def test_text_times_sort_within_a_second(tmp_path: Path, times: tuple[str, ...]) -> None:
    text = "user,item,time\n" + "".join(f"a,{item},{time}\n" for item, time in zip("zxy", times, strict=True))
    assert rows(csv(tmp_path, text)) == [("a", "x"), ("a", "y"), ("a", "z")]


@pytest.mark.parametrize(
    "times",
    [
        pa.array([10.9, 10.1, 10.5]),
        pa.array([Decimal("10.9"), Decimal("10.1"), Decimal("10.5")]),
        pa.array([9, 1, 5], pa.timestamp("us")),
        pa.array([9, 1, 5], pa.timestamp("ns", "Europe/Berlin")),
        pa.array([date(2026, 3, 9), date(2026, 3, 1), date(2026, 3, 5)]),
        pa.array(["10.9", "10.1", "10.5"]).dictionary_encode(),
        pa.array([9, 1, 5], pa.uint64()),
    ],
)
def test_times_of_parquet_sort_within_a_second(tmp_path: Path, times: pa.Array) -> None:
    data = parquet(tmp_path, user=["a"] * 3, item=["z", "x", "y"], time=times)
    assert rows(data) == [("a", "x"), ("a", "y"), ("a", "z")]


@pytest.mark.parametrize(
    ("time", "what"),
    [
        ("inf", "time 'inf' is neither a number nor a date"),
        ("nan", "time 'nan' is neither"),
        ("18446744073709551615", "is beyond the year 2262"),
        ("1700000000000", r"in s is beyond the year 2262; if it is in ms, set data\.time_unit=ms"),
        ("1e400", "is beyond the year 2262"),
        ("1_000", "is neither a number nor a date"),
        ("0x10", "is neither a number nor a date"),
        ("NaT", "is neither a number nor a date"),
        ("9999-12-31", "is neither a number"),
        ("", "there is no time"),
    ],
)
def test_a_time_out_of_range_is_refused(tmp_path: Path, time: str, what: str) -> None:
    for first in ("5", "2026-01-01"):
        with pytest.raises(UserError, match=r"shop\.csv(, line 3)?: .*time") as refused:
            csv(tmp_path, f"user,item,time\na,x,{first}\na,y,{time}\n")
        if first == "5":
            refused.match(what)


def test_milliseconds_are_read_as_said(tmp_path: Path) -> None:
    data = csv(tmp_path, "user,item,time\na,x,1700000000900\na,y,1700000000100\n", time_unit="ms")
    assert rows(data) == [("a", "y"), ("a", "x")]
    assert data.times.tolist() == [1_700_000_000] * 2
    with pytest.raises(UserError, match=r"data\.time_unit is one of s, ms, us, ns, not years"):
        csv(tmp_path, "user,item\na,b\n", time_unit="years")


@pytest.mark.parametrize(
    "times",
    [
        pa.array([1.0, float("inf")]),
        pa.array([1, 2**64 - 1], pa.uint64()),
        pa.array([timedelta(1), timedelta(2)]),
        pa.array([1, None]),
        pa.array([0, 2**61], pa.timestamp("ms")),
        pa.array([True, False]),
        pa.array([Decimal("1e30"), Decimal(1)]),
    ],
)
def test_times_of_parquet_out_of_range_are_refused(tmp_path: Path, times: pa.Array) -> None:
    with pytest.raises(UserError, match=r"shop\.parquet(, row \d)?: .*(time|timestamp)"):
        parquet(tmp_path, user=["a"] * 2, item=["x", "y"], time=times)
