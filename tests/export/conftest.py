"""The ranking model, exported once for all tests of this folder."""

import pytest
import torch

from mnet.export.format.bundle import Bundle
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
