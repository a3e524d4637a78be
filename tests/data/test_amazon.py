"""Amazon Video Games: the published file, from disk and from a server."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mnet.toolchain.data.amazon import load_amazon_video_games
from mnet.toolchain.errors import UserError

ROWS = b"1 30\n1 10\n1 20\n2 10\n2 30\n"


def test_rows_are_in_the_order_of_time_and_have_no_dates(tmp_path: Path) -> None:
    file = tmp_path / "Video.txt"
    file.write_bytes(ROWS)
    data = load_amazon_video_games(file)
    assert [data.sequence(user).tolist() for user in range(data.n_users)] == [[3, 1, 2], [1, 3]]
    assert (data.n_items, data.dated) == (3, False)


def test_it_is_downloaded_once(
    serve: Callable[[bytes], Any], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = serve(ROWS)
    monkeypatch.setattr("mnet.toolchain.data.amazon.SOURCE", site.source)
    assert [load_amazon_video_games().n_users for _ in range(2)] == [2, 2]
    assert site.requests == 1


def test_what_is_no_such_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no file; give"):
        load_amazon_video_games(tmp_path)
    (tmp_path / "Video.txt").write_text("a,b\n")
    with pytest.raises(UserError, match="line 1: has 1 cells, not 2"):
        load_amazon_video_games(tmp_path / "Video.txt")
