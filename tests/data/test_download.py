"""Downloads: whole and checked, or not at all."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mnet.toolchain.data.download import Source, download
from mnet.toolchain.errors import UserError

Serve = Callable[[bytes], Any]


def test_a_file_arrives_as_it_was_sent(serve: Serve, tmp_path: Path) -> None:
    file = tmp_path / "set" / "rows.txt"
    download("a set", serve(b"1 2\n" * 100_000).source, file)
    assert file.read_bytes() == b"1 2\n" * 100_000
    assert list(file.parent.iterdir()) == [file]


def test_another_file_is_refused_and_not_kept(serve: Serve, tmp_path: Path) -> None:
    source = replace(serve(b"changed").source, digest="0e33")
    with pytest.raises(UserError, match=r"has sha256 \w+, expected 0e33"):
        download("a set", source, tmp_path / "set" / "rows.txt")
    assert not list((tmp_path / "set").iterdir())


def test_without_a_server_it_says_what_to_do(tmp_path: Path) -> None:
    source = Source("http://127.0.0.1:1/file", "md5", "0e33")
    with pytest.raises(UserError, match="download it yourself and say where it is with --data a set=PATH"):
        download("a set", source, tmp_path / "rows.txt")
