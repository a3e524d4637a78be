"""The next-item models, small, and what is asked of all of them."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from mnet.device_models.din import DIN, DINConfig
from mnet.device_models.gru4rec import GRU4Rec, GRU4RecConfig
from mnet.device_models.moving_averages import MovingAverages, MovingAveragesConfig
from mnet.device_models.sasrec import SASRec, SASRecConfig

LENGTH = 6
MAKERS: dict[str, Callable[[], SASRec | GRU4Rec | DIN | MovingAverages]] = {
    "sasrec": lambda: SASRec(SASRecConfig(50, width=16, blocks=2, heads=2, history=LENGTH, dropout=0.0)),
    "gru4rec": lambda: GRU4Rec(GRU4RecConfig(50, width=16, history=LENGTH, dropout=0.0)),
    "din": lambda: DIN(DINConfig(50, width=16, unit=8, history=LENGTH, dropout=0.0)),
    "moving-averages": lambda: MovingAverages(
        MovingAveragesConfig(50, width=16, history=LENGTH, averages=4, dropout=0.0)
    ),
}


@pytest.fixture
def model(name: str) -> SASRec | GRU4Rec | DIN | MovingAverages:
    torch.manual_seed(0)
    return MAKERS[name]().eval()


@pytest.fixture
def history() -> Callable[..., Tensor]:
    """Items as int64 [1, LENGTH], padded on the left."""
    return lambda *items: torch.tensor([[0] * (LENGTH - len(items)) + list(items)])
