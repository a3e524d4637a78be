"""Any table or image that common programs write reads back the same, or is refused: by hypothesis."""

import csv
import math
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from mnet.toolchain.data.images import decode
from mnet.toolchain.data.interactions import Interactions
from mnet.toolchain.data.table import load_table
from mnet.toolchain.errors import UserError
from mnet.toolchain.tasks.supervised import SupervisedSettings
from tests.training.sensors import NextReading

EXAMPLES = settings(
    max_examples=500,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

# What a person may call a user: any text, and what other readers take for numbers, dates and missing values.
ODD = st.sampled_from(
    [
        "007",
        "7",
        "1e3",
        "1000",
        "NA",
        "null",
        "nan",
        "1.0",
        "-0",
        "0x1",
        "True",
        "a,b",
        "a\tb",
        'say "x"',
        " a",
        "é",
        "🙂",
    ]
)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"), min_size=1, max_size=6)
ID = ODD | TEXT | st.integers(0, 2**70).map(str)
DATES = st.datetimes(datetime(1700, 1, 1), datetime(2200, 1, 1))
SECONDS = st.integers(-(10**9), 10**9)
ROWS = st.lists(st.tuples(ID, ID, SECONDS), min_size=1, max_size=12)


def sequences(data: Interactions) -> dict[str, list[tuple[str, int]]]:
    assert data.user_ids
    assert data.item_ids
    found = defaultdict(list)
    for user, item, time in zip(data.users, data.items, data.times, strict=True):
        found[data.user_ids[user]].append((data.item_ids[item - 1], int(time)))
    return dict(found)


def expected(rows: Iterable[tuple[str, str, Any]]) -> dict[str, list[tuple[str, int]]]:
    found = defaultdict(list)
    for user, item, time in sorted(rows, key=lambda row: row[2]):  # stable: ties keep their order
        found[user].append((item, math.floor(time)))
    return dict(found)


@pytest.mark.parametrize("writer", ["csv", "csv.tsv", "pandas", "pandas.tsv", "pyarrow"])
@EXAMPLES
@given(rows=ROWS)
def test_text_reads_back_the_same(tmp_path: Path, writer: str, rows: list[tuple[str, str, int]]) -> None:
    program, _, form = writer.partition(".")
    file = tmp_path / f"table.{form or 'csv'}"
    separator = "\t" if form else ","
    frame = pd.DataFrame(rows, columns=["user", "item", "time"])
    if program == "csv":
        with file.open("w", newline="", encoding="utf-8") as out:
            csv.writer(out, delimiter=separator).writerows([frame.columns, *rows])
    elif program == "pandas":
        frame.to_csv(file, index=False, sep=separator)
    else:
        pyarrow.csv.write_csv(pa.table({name: frame[name].tolist() for name in frame}), file)
    assert sequences(load_table(file)) == expected(rows)


@EXAMPLES
@given(rows=st.lists(st.tuples(ID, ID, st.floats(0, 4e9)), min_size=1, max_size=12))
def test_fractions_of_a_second_sort(tmp_path: Path, rows: list[tuple[str, str, float]]) -> None:
    with (tmp_path / "table.csv").open("w", newline="", encoding="utf-8") as out:
        csv.writer(out).writerows([("user", "item", "time"), *rows])
    exact = [(user, item, math.floor(time * 1_000_000_000) / 1e9) for user, item, time in rows]
    read = sequences(load_table(tmp_path / "table.csv"))
    assert {user: [item for item, _ in found] for user, found in read.items()} == {
        user: [item for item, _ in found] for user, found in expected(rows).items()
    } or len({time for _, _, time in exact}) < len(exact)  # equal to the nanosecond: in the order of the file
    assert {user: sorted(found) for user, found in read.items()} == {
        user: sorted(found) for user, found in expected(rows).items()
    }


@EXAMPLES
@given(
    rows=st.lists(
        st.tuples(ID, ID, st.datetimes(datetime(1700, 1, 1), datetime(2200, 1, 1))), min_size=1, max_size=12
    )
)
def test_dates_read_back_the_same(tmp_path: Path, rows: list[tuple[str, str, datetime]]) -> None:
    with (tmp_path / "table.csv").open("w", newline="", encoding="utf-8") as out:
        csv.writer(out).writerows([("user", "item", "time"), *((u, i, t.isoformat()) for u, i, t in rows)])
    assert sequences(load_table(tmp_path / "table.csv")) == expected(
        (u, i, (t.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()) for u, i, t in rows
    )


IDS = st.one_of(
    st.lists(ID, min_size=3, max_size=3).map(pa.array),
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=3, max_size=3).map(pa.array),
    st.lists(st.integers(0, 2**64 - 1), min_size=3, max_size=3).map(lambda x: pa.array(x, pa.uint64())),
    st.lists(ID, min_size=3, max_size=3).map(lambda x: pa.array(x).dictionary_encode()),
)
TIMES = st.one_of(
    st.lists(SECONDS, min_size=3, max_size=3).map(pa.array),
    st.lists(SECONDS, min_size=3, max_size=3).map(lambda x: pa.array(x, pa.timestamp("s"))),
    st.lists(SECONDS, min_size=3, max_size=3).map(lambda x: pa.array(x, pa.timestamp("us", "UTC"))),
    st.lists(st.floats(), min_size=3, max_size=3).map(pa.array),
)


def as_seconds(times: pa.Array) -> list[float]:
    if not pa.types.is_timestamp(times.type):
        return list(times.to_pylist())
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[times.type.unit]
    return [value / per_second for value in times.cast(pa.int64()).to_pylist()]


@EXAMPLES
@given(users=IDS, items=IDS, times=TIMES)
def test_parquet_reads_back_the_same_or_is_refused(
    tmp_path: Path, users: pa.Array, items: pa.Array, times: pa.Array
) -> None:
    pa.parquet.write_table(
        pa.table({"user": users, "item": items, "time": times}), tmp_path / "table.parquet"
    )
    seconds = as_seconds(times)
    try:
        read = sequences(load_table(tmp_path / "table.parquet"))
    except UserError as error:
        assert "table.parquet" in str(error)
        assert not all(abs(second) < 9e9 for second in seconds)
        return
    ids = (map(str, users.to_pylist()), map(str, items.to_pylist()))
    rows = list(zip(*ids, seconds, strict=True))
    assert {user: sorted(found) for user, found in read.items()} == {
        user: sorted(found) for user, found in expected(rows).items()
    }


@settings(EXAMPLES, max_examples=2000)
@given(
    mode=st.sampled_from(["RGB", "L", "RGBA", "LA", "P", "1"]),
    form=st.sampled_from(["PNG", "TIFF", "BMP", "WEBP", "GIF"]),
    size=st.tuples(st.integers(1, 8), st.integers(1, 8)),
    seed=st.integers(0, 10**6),
)
def test_pixels_without_transparency_read_back_the_same(
    mode: str, form: str, size: tuple[int, int], seed: int
) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 4), dtype=np.uint8)
    pixels[..., 3] = 255
    image = (
        Image.fromarray(pixels).convert(mode)
        if mode != "P"
        else Image.fromarray(pixels[..., :3]).quantize(16)
    )
    out = BytesIO()
    try:
        image.save(out, form, **({"lossless": True} if form == "WEBP" else {}))
    except OSError:  # this form has no such pixels
        return
    with Image.open(BytesIO(out.getvalue())) as again:
        wanted = torch.from_numpy(np.asarray(again.convert("RGB")).copy()).permute(2, 0, 1)
    assert torch.equal(decode([out.getvalue()])[0], wanted)


TASK = NextReading(
    SupervisedSettings(context=4),
    {
        "shapes": [[4]], "dtypes": ["float32"], "mean": [0.0] * 4, "spread": [1.0] * 4,
        "low": [-1.0] * 4, "high": [1.0] * 4,
    },
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=12,
)


@settings(EXAMPLES, max_examples=2000)
@given(samples=st.lists(JSON | st.lists(st.floats(width=32), min_size=4, max_size=4), max_size=6))
def test_a_context_is_read_as_it_is_or_refused(samples: list[Any]) -> None:
    try:
        context = TASK.context(samples)
    except ValueError as error:
        assert "sample" in str(error)
        return
    assert context.shape == (1, 4, 4)
    assert bool(context.isfinite().all())
    kept = samples[-4:]
    wanted = torch.tensor(kept, dtype=torch.float32).view(-1, 4)
    assert torch.equal(context[0, 4 - len(kept) :], wanted)
