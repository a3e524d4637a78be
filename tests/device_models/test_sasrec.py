"""SASRec: what it attends to, and that a zero head leaves the published model."""

import pytest
import torch
from torch import Tensor

from mnet.device_models.sasrec import SASRec, SASRecConfig

CONFIG = SASRecConfig(n_items=50, width=16, blocks=2, heads=2, history=6, dropout=0.0)


@pytest.fixture
def model() -> SASRec:
    torch.manual_seed(0)
    return SASRec(CONFIG).eval()


def history(*items: int) -> Tensor:
    return torch.tensor([[0] * (CONFIG.history - len(items)) + list(items)])


def test_every_position_sees_all_that_came_before_it(model: SASRec) -> None:
    one, other = model.encode(history(1, 2, 3, 4, 5, 6)), model.encode(history(9, 2, 3, 4, 5, 6))
    assert (one - other).abs().amax(dim=2).min() > 1e-4


def test_padding_is_not_attended_to(model: SASRec) -> None:
    before = model.encode(history(3, 4))
    with torch.no_grad():
        model.encoder.item_embedding.weight[0] = 100.0
    torch.testing.assert_close(model.encode(history(3, 4)), before)


def test_an_empty_history_is_finite_and_says_nothing(model: SASRec) -> None:
    assert torch.equal(model.encode(history()), torch.zeros(1, CONFIG.history, CONFIG.width))
    assert model(history(), torch.tensor([[1, 2]])).isfinite().all()


def test_with_a_zero_head_it_is_the_published_model(model: SASRec) -> None:
    with torch.no_grad():
        model.head_out.weight.zero_()
    hidden = model.encode(history(1, 2))[:, -1]
    torch.testing.assert_close(
        model.head(hidden), hidden @ model.get_parameter("encoder.item_embedding.weight")[1:].T
    )


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="width 16 is not a multiple of heads 3"):
        SASRec(SASRecConfig(n_items=5, width=16, heads=3))
