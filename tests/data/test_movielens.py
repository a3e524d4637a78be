"""MovieLens 100K from each of its forms, from a server, and what is said about bad input."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mnet.toolchain.data.movielens import load_movielens_100k
from mnet.toolchain.errors import UserError

ROWS = "7\t50\t5\t300\n3\t172\t4\t100\n7\t1\t1\t200\n3\t50\t2\t400\n"


@pytest.mark.parametrize(
    ("name", "text"),
    [("u.data", ROWS), ("ml.inter", "user_id:token\titem_id:token\trating\ttimestamp\n" + ROWS)],
)
def test_both_file_forms_give_the_same_sequences(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    data = load_movielens_100k(tmp_path / name)
    # Films 1, 50, 172 become items 1, 2, 3; every rating counts, in time order.
    assert [data.sequence(user).tolist() for user in range(data.n_users)] == [[3, 2], [1, 2]]
    assert data.times.tolist() == [100, 400, 200, 300]
    assert (data.n_items, data.titles) == (3, None)


def test_a_folder_gives_titles_too(tmp_path: Path) -> None:
    (tmp_path / "u.data").write_text(ROWS)
    (tmp_path / "u.item").write_bytes(
        "1|Toy Story (1995)|x\n50|Star Wars (1977)|x\n172|Les Misérables (1995)|x\n".encode("latin-1")
    )
    assert load_movielens_100k(tmp_path).titles == (
        "Toy Story (1995)",
        "Star Wars (1977)",
        "Les Misérables (1995)",
    )


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("1\t2\t3", r"has 3 cells, not 4 \(user, item, rating, time\)"),
        ("1\t2\t3\t4\t5", "has 5 cells, not 4"),
        ("1\t2\t3\tx", "time 'x' is neither a number nor a date"),
        ("1\t\t3\t4", "there is no item"),
        ("\n1\t2\t3\t4", "is empty, and there are rows after it"),
        ("1,2,3,4", "has 1 cells, not 4"),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, line: str, what: str) -> None:
    file = tmp_path / "u.data"
    file.write_text(f"{ROWS}{line}\n")
    with pytest.raises(UserError, match=rf"u\.data, line 5: {what}"):
        load_movielens_100k(file)


@pytest.mark.parametrize(
    "header",
    ["user_id:token\titem_id:token\ttimestamp:float\trating:float", "user_id\titem_id\ttimestamp\trating"],
)
def test_columns_are_found_by_the_header(tmp_path: Path, header: str) -> None:
    (tmp_path / "ml.inter").write_text(f"{header}\n7\t50\t300.5\t5\n7\t1\t300.25\t4\n")
    data = load_movielens_100k(tmp_path / "ml.inter")
    assert data.items.tolist() == [1, 2]
    assert data.times.tolist() == [300, 300]


@pytest.mark.parametrize(
    ("titles", "what"),
    [
        ("1|Toy Story (1995)|x\n50|Star Wars (1977)|x\n", "has no title of film 172"),
        ("1|Toy Story (1995)|x\n50 Star Wars (1977)\n", r"line 2: expected film\|title\|"),
    ],
)
def test_damaged_titles_are_named(tmp_path: Path, titles: str, what: str) -> None:
    (tmp_path / "u.data").write_text(ROWS)
    (tmp_path / "u.item").write_text(titles)
    with pytest.raises(UserError, match=rf"u\.item.*{what}"):
        load_movielens_100k(tmp_path)


def test_a_missing_or_empty_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"u\.data does not exist"):
        load_movielens_100k(tmp_path)
    (tmp_path / "u.data").touch()
    with pytest.raises(UserError, match="holds no interactions"):
        load_movielens_100k(tmp_path)


@pytest.fixture
def archive() -> bytes:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as files:
        files.writestr("ml-100k/u.data", ROWS)
        files.writestr("ml-100k/u.item", "1|Toy Story (1995)|x\n50|Star Wars|x\n172|Empire|x\n")
    return body.getvalue()


def test_it_is_downloaded_once(
    serve: Callable[[bytes], Any], archive: bytes, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = serve(archive)
    monkeypatch.setattr("mnet.toolchain.data.movielens.SOURCE", site.source)
    for _ in range(2):
        assert load_movielens_100k().titles == ("Toy Story (1995)", "Star Wars", "Empire")
    assert site.requests == 1
    assert sorted(file.name for file in (cache / "movielens-100k").iterdir()) == ["u.data", "u.item"]
