"""Tables as other programs write them, each with what is right: read as they stand, or refused by file and line."""

import gzip
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mnet.toolchain.data.amazon import load_amazon_video_games
from mnet.toolchain.data.interactions import Interactions
from mnet.toolchain.data.table import load_table
from mnet.toolchain.errors import UserError


def rows(data: Interactions) -> list[tuple[str, str]]:
    """(user, item) in the order of users, then of time."""
    assert data.user_ids
    assert data.item_ids
    return [(data.user_ids[u], data.item_ids[i - 1]) for u, i in zip(data.users, data.items, strict=True)]


def csv(tmp_path: Path, text: str | bytes, name: str = "shop.csv", **settings: Any) -> Interactions:
    (tmp_path / name).write_bytes(text.encode() if isinstance(text, str) else text)
    return load_table(tmp_path / name, **settings)


def parquet(tmp_path: Path, **columns: Any) -> Interactions:
    pq.write_table(pa.table(columns), tmp_path / "shop.parquet")
    return load_table(tmp_path / "shop.parquet")


# 1. Rows wider or narrower than the header.


@pytest.mark.parametrize("row", ["a,b,7", "a", "a,b,"])
def test_a_row_of_another_width_is_refused(tmp_path: Path, row: str) -> None:
    with pytest.raises(UserError, match=r"shop\.csv, line 3: has \d cells, not 2 \(user, item\)"):
        csv(tmp_path, f"user,item\nx,y\n{row}\n")


def test_a_wider_row_of_the_amazon_form_is_refused(tmp_path: Path) -> None:
    (tmp_path / "Video.txt").write_text("1 7 1007\n")
    with pytest.raises(UserError, match=r"Video\.txt, line 1: has 3 cells, not 2"):
        load_amazon_video_games(tmp_path / "Video.txt")


# 2. Columns named twice, or otherwise.


def test_a_column_named_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has 2 columns called item; which of them is the item"):
        csv(tmp_path, "user,item,item\na,b,c\n")


def test_columns_of_other_names_are_mapped(tmp_path: Path) -> None:
    mapped = {"user": "user_id:token", "item": "item_id:token", "time": "ts"}
    text = "ts\tuser_id:token\titem_id:token\n20\ta\tx\n10\ta\ty\n"
    assert rows(csv(tmp_path, text, "shop.tsv", columns=mapped)) == [("a", "y"), ("a", "x")]
    with pytest.raises(UserError, match=r"has no column when; it has ts, .*Say which is which with"):
        csv(tmp_path, text, "shop.tsv", columns=mapped | {"time": "when"})
    with pytest.raises(UserError, match=r"data\.columns\.who: known are user, item, time"):
        csv(tmp_path, text, "shop.tsv", columns={"who": "ts"})


# 3. Times keep their precision.


# 4. Times out of range.


# 5 and 6. Ids are text; only an empty cell is missing.


@pytest.mark.parametrize(
    "ids",
    [
        ("007", "7", "07"),
        ("0001388703", "1388703"),
        ("1e3", "1000"),
        ("9007199254740993.0", "9007199254740992.0"),
        ("NA", "NULL", "null", "nan", "None", "N/A", "-"),
        ("9223372036854775808", "18446744073709551616"),
        ("true", "True", "TRUE"),
        ("é", "e\u0301"),
        ("a b", "a  b", " a b"),
    ],
)
def test_ids_are_text(tmp_path: Path, ids: tuple[str, ...]) -> None:
    data = csv(tmp_path, "user,item\n" + "".join(f"{user},x\n" for user in ids))
    assert data.user_ids
    assert set(data.user_ids) == set(ids)


def test_one_text_among_many_numbers_changes_nothing(tmp_path: Path) -> None:
    numbers = [f"{n % 500},{n}" for n in range(40_000)]
    data = csv(tmp_path, "\n".join(["user,item", *numbers[:20_000], "x,7", *numbers[20_000:]]))
    assert (data.n_users, data.n_items) == (501, 40_000)


def test_whole_numbers_come_in_their_order(tmp_path: Path) -> None:
    data = csv(tmp_path, "user,item\na,10\na,9\na,b\na,007\n")
    assert data.item_ids == ("9", "10", "007", "b")


@pytest.mark.parametrize("cell", ["", '""'])
def test_an_empty_cell_is_missing(tmp_path: Path, cell: str) -> None:
    with pytest.raises(UserError, match=r"shop\.csv, line 3: there is no user"):
        csv(tmp_path, f"user,item\na,b\n{cell},c\n")


def test_ids_of_parquet_are_read_by_their_type(tmp_path: Path) -> None:
    users = pa.array([1.0, 2.0])
    items = pa.array([2**64 - 1, 7], pa.uint64())
    assert rows(parquet(tmp_path, user=users, item=items)) == [("1", "18446744073709551615"), ("2", "7")]
    assert rows(parquet(tmp_path, user=pa.array([Decimal(7), Decimal(8)]), item=["007", "NA"])) == [
        ("7", "007"),
        ("8", "NA"),
    ]
    for wrong in ([1.5, 2.0], [2.0**60, 1.0], [[1], [2]], [b"a", b"b"], [Decimal("1.5"), Decimal(2)]):
        with pytest.raises(UserError, match=r"shop\.parquet: column user"):
            parquet(tmp_path, user=pa.array(wrong), item=["x", "y"])
    with pytest.raises(UserError, match=r"shop\.parquet, row 2: there is no item"):
        parquet(tmp_path, user=["a", "b"], item=["x", None])


# 8. Damaged text.


def test_compressed_text_is_read_and_cut_short_is_refused(tmp_path: Path) -> None:
    packed = gzip.compress(b"user\titem\n" + b"".join(b"%d\t%d\n" % (n, n * n) for n in range(1000)))
    assert csv(tmp_path, packed, "shop.TSV.GZ").n_users == 1000
    for damaged in (packed[:-9], packed[:50], b"", b"user\titem\na\tb\n", packed[:200] + b"x" + packed[201:]):
        with pytest.raises(UserError, match=r"shop\.tsv\.gz"):
            csv(tmp_path, damaged, "shop.tsv.gz")


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    assert rows(csv(tmp_path, b"\xef\xbb\xbfuser,item\na,b\n")) == [("a", "b")]


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_other_encodings_are_refused(tmp_path: Path, encoding: str) -> None:
    with pytest.raises(UserError, match=r"shop\.csv, line \d: is not UTF-8 text"):
        csv(tmp_path, "user,item\na,b\né,c\n".encode(encoding))


def test_a_quote_that_swallows_lines_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"shop\.tsv, line 3: opens a quote that is closed in line 5"):
        csv(tmp_path, 'user\titem\na\tb\nc\t"d\ne\tf\ng"\th\n'.replace('g"\th', 'g\th"'), "shop.tsv")
    with pytest.raises(UserError, match=r"shop\.csv, line \d: is no row of a table"):
        csv(tmp_path, 'user,item\na,"b\nc,d\n')
    with pytest.raises(UserError, match=r"shop\.csv, line 2: is no row of a table"):
        csv(tmp_path, 'user,item\na,"b"c\n')


def test_quoted_text_over_lines_is_read(tmp_path: Path) -> None:
    text = 'user,item,review\na,x,"good,\nreally"\nb,"y,z","says ""no"""\n'
    assert rows(csv(tmp_path, text)) == [("a", "x"), ("b", "y,z")]


def test_empty_lines_end_a_table(tmp_path: Path) -> None:
    assert rows(csv(tmp_path, "user,item\r\na,b\r\n\r\n\r\n")) == [("a", "b")]
    with pytest.raises(UserError, match="line 2: is empty, and there are rows after it"):
        csv(tmp_path, "user,item\n\na,b\n")


@pytest.mark.parametrize("text", ["", "\n", "user,item", "user,item\n"])
def test_a_table_without_rows_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(UserError, match=r"holds no interactions|has no column user"):
        csv(tmp_path, text)


@pytest.mark.parametrize("name", ["shop.PARQUET", "shop.pq"])
def test_the_ending_may_be_written_otherwise(tmp_path: Path, name: str) -> None:
    pq.write_table(pa.table({"user": ["a"], "item": ["b"]}), tmp_path / name)
    assert rows(load_table(tmp_path / name)) == [("a", "b")]


# What `mnet data show` says.


def test_the_summary_says_what_was_understood(tmp_path: Path) -> None:
    when = int(datetime(2026, 1, 31, tzinfo=UTC).timestamp())
    data = csv(tmp_path, f"user,item,time\na,x,{when}\na,x,{when}\na,y,{when + 86400}\n")
    summary = data.summary()
    assert summary["time"] == "1 days, 2026-01-31 to 2026-02-01 (UTC)"
    assert summary["of these, of an item that the user had before"] == 1
    assert summary["of these, within the same second as the user's one before"] == 1
    assert "nothing can be personalized" in str(summary["warning 1"])
    assert summary["columns"] == "user: user (text); item: item (text); time: time (numbers, s since 1970)"
    assert data.examples()[0] == {"user": "a", "item": "x", "title": "x", "time": "2026-01-31T00:00:00"}


@pytest.mark.parametrize(
    ("text", "understood"),
    [
        ("user,item\n7,1\n8,2\n", "user: user (whole numbers); item: item (whole numbers)"),
        ("user,item\n07,1\n8,2\n", "user: user (text); item: item (whole numbers)"),
        ("item,note,user,time\n1,x,7,2026-01-31\n", "user: user (whole numbers); item: item (whole numbers); "
         "time: time (dates, UTC); not read: note"),
    ],
)  # fmt: skip
def test_the_summary_says_which_column_was_read_as_what(tmp_path: Path, text: str, understood: str) -> None:
    assert csv(tmp_path, text).summary()["columns"] == understood


def test_the_summary_names_the_types_of_parquet(tmp_path: Path) -> None:
    data = parquet(tmp_path, user=[1, 2], item=["a", "b"], time=[1.5, 2.5], rating=[3, 4])
    assert data.summary()["columns"] == (
        "user: user (int64); item: item (text); time: time (double, s since 1970); not read: rating"
    )


# 13. What is legal, and worthless.


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("user,item,time\na,x,1\na,y,2\n", "there is one user: nothing can be personalized"),
        ("user,item,time\na,x,1\nb,x,2\n", "there is one item: every ranking is right"),
        ("user,item,time\na,x,1\nb,y,1\n", "all interactions are of one second"),
    ],
)
def test_a_worthless_set_is_warned_of(tmp_path: Path, text: str, warning: str) -> None:
    assert [found for found in csv(tmp_path, text).warnings if found.startswith(warning)]


def test_ids_are_ordered_by_value_then_as_text(tmp_path: Path) -> None:
    data = csv(tmp_path, "user,item\nu,b\nu,10\nu,9\nu,007\nu,\u00e9\nu,a\n")
    assert data.item_ids == ("9", "10", "007", "a", "b", "\u00e9")


def test_negative_zero_is_zero(tmp_path: Path) -> None:
    assert parquet(tmp_path, user=[0.0, -0.0, 1.0], item=["a", "b", "c"]).user_ids == ("0", "1")
