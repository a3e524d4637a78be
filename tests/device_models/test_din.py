"""DIN: the cheap forms of the activation unit against the published one, and what it knows of order."""

import pytest
import torch
from torch import nn

from mnet.device_models.din import DIN, ActivationUnit, DINConfig

CONFIG = DINConfig(n_items=50, width=16, unit=8, history=6, dropout=0.0)


@pytest.fixture
def model() -> DIN:
    torch.manual_seed(0)
    return DIN(CONFIG).eval()


def test_the_activation_unit_is_one_mlp_on_h_c_their_difference_and_product() -> None:
    torch.manual_seed(0)
    width, size = 16, 8
    unit, published = ActivationUnit(width, size), nn.Linear(4 * width, size)
    of_h, of_c, of_difference, of_product = published.weight.split(width, dim=1)
    with torch.no_grad():
        unit.of_history.weight.copy_(of_h + of_difference)
        unit.of_history.bias.copy_(published.bias)
        unit.of_candidate.weight.copy_(of_c - of_difference)
        unit.of_product.weight.copy_(of_product)
    history, candidates = torch.randn(2, 3, width), torch.randn(2, 5, width)
    h, c = torch.broadcast_tensors(history[:, None], candidates[:, :, None])
    hidden = published(torch.cat([h, c, h - c, h * c], dim=-1))
    torch.testing.assert_close(unit(history, candidates), unit.out(unit.activation(hidden)).squeeze(-1))


def test_many_queries_over_a_small_catalogue_score_as_each_alone(
    model: DIN, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights from the table of all pairs, in chunks, against those of one query's own pairs."""
    hidden = torch.randint(0, 51, (40, CONFIG.history))
    alone = torch.cat([model.head(row[None]) for row in hidden])
    monkeypatch.setattr("mnet.device_models.din.CHUNK", 40 * 7)
    torch.testing.assert_close(model.head(hidden), alone)


def test_the_order_of_the_history_does_not_matter(model: DIN) -> None:
    candidates = torch.arange(1, 51)[None]
    torch.testing.assert_close(
        model(torch.tensor([[0, 0, 1, 2, 3, 4]]), candidates),
        model(torch.tensor([[4, 0, 2, 1, 0, 3]]), candidates),
    )


def test_interest_depends_on_the_candidate_and_on_how_often_it_shows(model: DIN) -> None:
    """No softmax: twice the same item is twice the interest."""
    once, twice = torch.tensor([[0, 0, 0, 0, 0, 7]]), torch.tensor([[0, 0, 0, 0, 7, 7]])
    candidates = model.item_embedding(torch.arange(1, 51))[None]
    weights = model.unit(model.item_embedding(once), candidates)[0, :, -1]
    assert weights.std() > 1e-6
    assert not torch.allclose(model.head(once), model.head(twice), atol=1e-6)
