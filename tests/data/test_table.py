"""A user's own CSV, TSV or Parquet."""

import re
from pathlib import Path

import pandas as pd
import pytest

from mnet.toolchain.data import memory
from mnet.toolchain.data.table import load_table
from mnet.toolchain.errors import UserError

TABLE = pd.DataFrame(
    {
        "price": [1.0, 2.0, 3.0, 4.0],
        "user": ["eve", "bob", "eve", "bob"],
        "item": ["tea", "rum", "ale", "tea"],
        "time": [20, 40, 10, 30],
    }
)


def write(table: pd.DataFrame, file: Path) -> Path:
    if file.suffix == ".parquet":
        table.to_parquet(file)
    else:
        table.to_csv(file, sep="\t" if file.suffix == ".tsv" else ",", index=False)
    return file


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_users_and_items_of_any_kind_become_sequences_in_time(tmp_path: Path, suffix: str) -> None:
    data = load_table(write(TABLE, tmp_path / f"shop{suffix}"))
    assert (data.user_ids, data.titles) == (("bob", "eve"), ("ale", "rum", "tea"))
    assert [data.sequence(user).tolist() for user in range(data.n_users)] == [[3, 2], [1, 3]]
    assert data.times.tolist() == [30, 40, 10, 20]
    assert data.dated


def test_dates_may_be_written_out(tmp_path: Path) -> None:
    dates = ["2026-01-02", "2026-01-01 10:00", "2026-01-01", "2026-01-01T12:00:00Z"]
    data = load_table(write(TABLE.assign(time=dates), tmp_path / "shop.csv"))
    assert data.sequence(1).tolist() == [1, 3]
    assert (data.times[3] - data.times[2]) == 86_400


def test_without_times_the_rows_are_in_order(tmp_path: Path) -> None:
    data = load_table(write(TABLE.drop(columns="time"), tmp_path / "shop.csv"))
    assert [data.sequence(user).tolist() for user in range(data.n_users)] == [[2, 3], [3, 1]]
    assert not data.dated


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (TABLE.drop(columns="item"), "has no column item; it has price, user, time"),
        (TABLE.assign(user=pd.Series(["eve", None, "eve", "bob"])), "line 3: there is no user"),
        (TABLE.assign(time=["soon", "a", "b", "c"]), "line 2: time 'soon' is neither a number nor a date"),
        (TABLE[:0], "holds no interactions"),
    ],
)
def test_a_table_that_does_not_fit_is_named(tmp_path: Path, table: pd.DataFrame, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        load_table(write(table, tmp_path / "shop.csv"))


def test_a_file_that_is_no_table_is_named(tmp_path: Path) -> None:
    for file in (tmp_path / "shop.csv", None):
        with pytest.raises(
            UserError, match="is no file; give your CSV, TSV or Parquet with --data table=PATH"
        ):
            load_table(file)
    (tmp_path / "shop.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match=r"shop\.parquet: cannot be read"):
        load_table(tmp_path / "shop.parquet")


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_table_beyond_the_memory_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    file = write(pd.concat([TABLE] * 250), tmp_path / f"shop{suffix}")
    load_table(file)
    assert not capsys.readouterr().err
    monkeypatch.setattr(memory, "machine_memory", lambda: 80_000)
    assert len(load_table(file).items) == 1000
    said = " ".join(capsys.readouterr().err.split())
    rows = re.search(r"has some ([\d,]+) rows; to read them takes about \d\.\d GB", said)
    assert rows
    assert 900 < int(rows[1].replace(",", "")) < 1100
    fitting = 500 if suffix == ".csv" else 800
    assert f"the rows of fewer users, about {fitting} in all" in said


def test_this_machine_has_memory() -> None:
    assert 1e8 < memory.machine_memory() < 1e14
