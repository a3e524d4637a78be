"""`mnet` as a person calls it."""

import sys

import pytest

from mnet.toolchain.cli.app import main


class Mnet:
    """Runs the command in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def __call__(self, *arguments: object) -> tuple[int, str, str]:
        self._monkeypatch.setattr(sys, "argv", ["mnet", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        code = caught.value.code
        captured = self._capsys.readouterr()
        return (code if isinstance(code, int) else 0), captured.out, captured.err
