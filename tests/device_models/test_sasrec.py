"""SASRec: masks, padding, the head, candidates, export, and that it learns an order."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from device_models.sasrec import SASRec, SASRecConfig

CONFIG = SASRecConfig(n_items=50, width=16, blocks=2, heads=2, history=6, dropout=0.0)


@pytest.fixture
def model() -> SASRec:
    torch.manual_seed(0)
    return SASRec(CONFIG).eval()


def history(*items: int) -> Tensor:
    return torch.tensor([[0] * (CONFIG.history - len(items)) + list(items)])


def test_a_position_sees_nothing_of_what_comes_after_it(model: SASRec) -> None:
    one, other = model.encode(history(1, 2, 3, 4, 5, 6)), model.encode(history(1, 2, 3, 4, 5, 7))
    torch.testing.assert_close(one[:, :-1], other[:, :-1])
    assert not torch.allclose(one[:, -1], other[:, -1])


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


@pytest.mark.parametrize("last", [1, 3])
def test_the_last_positions_alone_are_what_they_are_in_full(model: SASRec, last: int) -> None:
    items = history(5, 6, 7, 8)
    torch.testing.assert_close(model.encode(items, last), model.encode(items)[:, -last:])


def test_with_a_zero_head_it_is_the_published_model(model: SASRec) -> None:
    with torch.no_grad():
        model.head_out.weight.zero_()
    hidden = model.encode(history(1, 2))[:, -1]
    torch.testing.assert_close(model.head(hidden), hidden @ model.encoder.item_embedding.weight[1:].T)


def test_candidates_get_the_logits_that_they_get_among_all_items(model: SASRec) -> None:
    candidates = torch.tensor([[7, 1, 50]])
    every = model.head(model.encode(history(1, 2))[:, -1])
    torch.testing.assert_close(model(history(1, 2), candidates), every[:, candidates[0] - 1])


def test_it_exports_with_batch_1(model: SASRec) -> None:
    inputs = (history(1, 2, 3), torch.arange(1, 11)[None])
    program = torch.export.export(model, inputs)
    other = (history(4), torch.arange(11, 21)[None])
    torch.testing.assert_close(program.module()(*other), model(*other))


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="width 16 is not a multiple of heads 3"):
        SASRec(SASRecConfig(n_items=5, width=16, heads=3))


def test_it_learns_which_item_follows_which() -> None:
    torch.manual_seed(0)
    model = SASRec(CONFIG)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    # Every item is followed by its double plus one, whatever came before.
    first = torch.arange(1, 51)
    items = [first]
    for _ in range(CONFIG.history):
        items.append(items[-1] * 2 % 50 + 1)
    sequence = torch.stack(items, dim=1)
    for _ in range(60):
        logits = model.head(model.encode(sequence[:, :-1]))
        loss = functional.cross_entropy(logits.flatten(0, 1), sequence[:, 1:].flatten() - 1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    best = model.eval().head(model.encode(sequence[:, :-1])[:, -1]).argmax(dim=1) + 1
    assert (best == sequence[:, -1]).float().mean() > 0.9
