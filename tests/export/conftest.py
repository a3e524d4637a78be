"""The ranking model, exported once for all tests of this folder, and `mnet` as a person calls it."""

import sys

import pytest
import torch

from mnet.export.format.bundle import Bundle
from mnet.toolchain.cli.app import main
from tests.export.ranker import PackFactory, Ranker, ranker_bundle


@pytest.fixture(scope="session")
def model() -> Ranker:
    """The model, in eager PyTorch."""
    torch.manual_seed(0)
    return Ranker().eval()


@pytest.fixture(scope="session")
def bundle(model: Ranker, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Its Android bundle; tests leave it as it is. Modules about another target override it."""
    return ranker_bundle(tmp_path_factory, model, "android")


@pytest.fixture(scope="module")
def packs(bundle: Bundle, model: Ranker) -> PackFactory:
    """Packs for the `bundle` of the module at hand."""
    return PackFactory(bundle, model)


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


@pytest.fixture
def mnet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Mnet:
    return Mnet(monkeypatch, capsys)
