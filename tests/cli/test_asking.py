"""Before many phones change, a person is asked; where nobody can be, nothing is done."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer

from mnet.toolchain.cli._operator import confirm
from mnet.toolchain.errors import UserError


@pytest.fixture
def types(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bytes], int]]:
    """Types at a terminal, which is this process's standard input."""
    keyboard, terminal = os.openpty()
    with os.fdopen(terminal, "r", encoding="utf-8") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield lambda text: os.write(keyboard, text)
    os.close(keyboard)


def test_a_person_may_say_no(types: Callable[[bytes], int], capsys: pytest.CaptureFixture[str]) -> None:
    types(b"n\n")
    with pytest.raises(typer.Abort):
        confirm("1,204 phones, 2 bundles.", yes=False)
    assert "1,204 phones, 2 bundles. Continue? [y/N]" in "".join(capsys.readouterr())
    types(b"y\n")
    confirm("1,204 phones, 2 bundles.", yes=False)


def test_where_nobody_can_be_asked_nothing_is_done() -> None:
    with Path(os.devnull).open(encoding="utf-8") as nobody, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", nobody)
        with pytest.raises(UserError, match="Nothing was done: nobody can be asked here; give --yes"):
            confirm("1,204 phones, 2 bundles.", yes=False)
        confirm("1,204 phones, 2 bundles.", yes=True)
