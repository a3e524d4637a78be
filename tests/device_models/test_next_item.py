"""What the next-item models have in common: history, padding, candidates, export, and that they learn an order."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from mnet.device_models.din import DIN
from mnet.device_models.gru4rec import GRU4Rec
from mnet.device_models.moving_averages import MovingAverages
from mnet.device_models.sasrec import SASRec

Model = SASRec | GRU4Rec | DIN | MovingAverages
History = Callable[..., Tensor]

pytestmark = pytest.mark.parametrize("name", ["sasrec", "gru4rec", "din", "moving-averages"])


def every_score(model: Model, items: Tensor) -> Tensor:
    return model.head(model.encode(items, last=1)[:, -1])


def test_a_position_sees_what_came_up_to_it_and_nothing_after(model: Model, history: History) -> None:
    logits = model.head(model.encode(history(1, 2, 3, 4, 5, 6)))
    for changed in range(model.history):
        items = history(1, 2, 3, 4, 5, 6)
        items[0, changed] = 9
        differs = (model.head(model.encode(items)) - logits).abs().amax(dim=2)[0] > 1e-6
        assert differs.tolist() == [position >= changed for position in range(model.history)]


@pytest.mark.parametrize("last", [1, 3])
def test_the_last_positions_alone_are_what_they_are_in_full(
    model: Model, history: History, last: int
) -> None:
    items = history(5, 6, 7, 8)
    torch.testing.assert_close(model.encode(items, last), model.encode(items)[:, -last:])


def test_padding_adds_nothing_and_an_empty_history_is_finite(model: Model, history: History) -> None:
    assert every_score(model, history()).isfinite().all()
    embedding = next(module for module in model.modules() if isinstance(module, nn.Embedding))
    assert (embedding.weight[0] == 0).all()
    assert embedding.padding_idx == 0, "no gradient moves it"


def test_candidates_get_the_logits_that_they_get_among_all_items(model: Model, history: History) -> None:
    items = torch.cat([history(1, 2), history(3, 4, 5)])
    every = every_score(model, items)
    candidates = torch.tensor([[7, 1, 50], [2, 2, 9]])
    torch.testing.assert_close(model(items, candidates), every.gather(1, candidates - 1))
    shared = model.head(model.encode(items, last=1), candidates[0])
    torch.testing.assert_close(shared[:, 0], every[:, candidates[0] - 1])


def test_it_exports_with_batch_1(model: Model, history: History) -> None:
    program = torch.export.export(model, (history(1, 2, 3), torch.arange(1, 11)[None]))
    other = (history(4), torch.arange(11, 21)[None])
    torch.testing.assert_close(program.module()(*other), model(*other))


def test_generated_parameters_are_its_own_and_move_every_logit(model: Model, history: History) -> None:
    before = every_score(model, history(1, 2))
    with torch.no_grad():
        for name in model.generated:
            parameter = model.get_parameter(name)
            parameter.add_(torch.randn_like(parameter))
    assert ((every_score(model, history(1, 2)) - before).abs() > 1e-6).all()


def test_beside_the_item_table_it_is_small(name: str) -> None:
    cls: type[Model] = {"sasrec": SASRec, "gru4rec": GRU4Rec, "din": DIN, "moving-averages": MovingAverages}[
        name
    ]
    model = cls(cls.config_class(n_items=100))
    table = next(module for module in model.modules() if isinstance(module, nn.Embedding)).weight
    assert sum(p.numel() for p in model.parameters() if p is not table) * 4 <= 100_000


def test_it_learns_which_item_follows_which(model: Model) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    # Every item is followed by its double plus one, whatever came before.
    items = [torch.arange(1, 51)]
    for _ in range(model.history):
        items.append(items[-1] * 2 % 50 + 1)
    sequence = torch.stack(items, dim=1)
    for _ in range(100):
        logits = every_score(model.train(), sequence[:, :-1])
        loss = functional.cross_entropy(logits, sequence[:, -1] - 1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    best = every_score(model.eval(), sequence[:, :-1]).argmax(dim=1) + 1
    assert (best == sequence[:, -1]).float().mean() > 0.9


def test_a_shorter_history_gives_what_it_gives_with_padding_in_front(
    name: str, model: Model, history: History
) -> None:
    candidates = torch.arange(1, 11)[None]
    short, padded = (model(items, candidates) for items in (torch.tensor([[7, 8, 9]]), history(7, 8, 9)))
    torch.testing.assert_close(short, padded)
