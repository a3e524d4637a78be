"""The task on data: sampled softmax against the whole one, every backbone in every method, and sets without dates."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mnet.toolchain.data.interactions import Interactions, from_columns
from mnet.toolchain.errors import UserError
from mnet.toolchain.metanetwork import MetaNetwork
from mnet.toolchain.settings import Part
from mnet.toolchain.tasks.ranking import METRICS
from mnet.toolchain.tasks.recommendation import Recommendation
from mnet.toolchain.tasks.recommendation_settings import RecommendationSettings
from mnet.toolchain.tasks.windows import PackWindows

SIZES: Mapping[str, Any] = {"width": 8, "history": 4, "dropout": 0.0}


@pytest.fixture
def data() -> Interactions:
    """20 users take 12 of 40 items each, some of them twice."""
    rng = np.random.default_rng(0)
    return from_columns(
        "made-up", np.repeat(np.arange(20), 12), rng.integers(1, 41, 240), rng.permutation(240), n_items=40
    )


def task_of(data: Interactions, model: str = "sasrec", **settings: Any) -> Recommendation:
    values = {"protocol": "leave-one-out", "refresh": 2, **settings}
    return Recommendation.create(
        RecommendationSettings.model_validate(values),
        Recommendation.facts(data),
        Part(name=model, **SIZES),
        Part(name="moving-averages", length=6),
    )


def metanetwork(task: Recommendation, model: nn.Module) -> MetaNetwork:
    encoder = task.context_encoder(Part(name="moving-averages", width=8, length=6, dropout=0.0))
    return MetaNetwork(model, model.generated, encoder).eval()  # type: ignore[arg-type]


def with_all_items(batch: PackWindows, n_items: int) -> PackWindows:
    """The negatives that leave nothing to chance."""
    return batch._replace(negatives=torch.arange(1, n_items + 1))


@pytest.mark.parametrize("name", ["sasrec", "gru4rec", "din"])
@pytest.mark.parametrize("shared_windows", [False, True])
def test_a_sample_that_is_the_whole_catalogue_gives_the_whole_softmax(
    data: Interactions, name: str, shared_windows: bool
) -> None:
    torch.manual_seed(0)
    task = task_of(data, name, shared_windows=shared_windows)
    model = task.device_model(Part(name=name, **SIZES)).eval()
    network = metanetwork(task, model)
    batch = next(iter(task.splits(data, model).training(5, seed=0)))
    sampled = with_all_items(batch, data.n_items)
    torch.testing.assert_close(
        task.loss(task.outputs(model, sampled), sampled), task.loss(task.outputs(model, batch), batch)
    )
    vectors = task.vectors(network, batch)
    torch.testing.assert_close(
        task.context_loss(network, vectors, sampled), task.context_loss(network, vectors, batch)
    )


def test_a_small_sample_estimates_the_sum_over_the_catalogue(data: Interactions) -> None:
    torch.manual_seed(0)
    task = task_of(data, ranking="all", negatives=8)
    model = task.device_model(Part(name="sasrec", **SIZES)).eval()
    splits = task.splits(data, model)
    sums = []
    for seed in range(300):
        batch = next(iter(splits.training(1000, seed)))
        order = batch.position.flatten().argsort()
        of_negatives = task.outputs(model, batch)[:, 1:].exp().sum(dim=1)
        sums.append(of_negatives[order][batch.target.flatten()[order] != 0])
    whole = task_of(data, ranking="all")
    batch = next(iter(whole.splits(data, model).training(1000, 0)))
    order, real = batch.position.flatten().argsort(), batch.target.flatten() != 0
    probability = whole.outputs(model, batch).exp()
    own = probability.gather(1, (batch.target.flatten() - 1).clamp(min=0)[:, None])[:, 0]
    expected = (probability.sum(dim=1) - own)[order][real[order]]
    torch.testing.assert_close(torch.stack(sums).mean(dim=0), expected, rtol=0.02, atol=0)


@pytest.mark.parametrize("name", ["sasrec", "gru4rec", "din"])
def test_every_backbone_trains_and_scores_under_generated_weights(data: Interactions, name: str) -> None:
    torch.manual_seed(0)
    task = task_of(data, name, negatives=8)
    model = task.device_model(Part(name=name, **SIZES))
    network = metanetwork(task, model)
    splits = task.splits(data, model)
    batch = next(iter(splits.training(5, seed=0)))
    vectors = task.vectors(network, batch)
    outputs = task.outputs(network.under(network.generate_from(vectors)), batch)
    loss = task.loss(outputs, batch) + task.context_loss(network, vectors, batch)
    loss.backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    (batch,) = splits.test(100)
    generated = network.generate(batch.context[batch.row])
    logits = task.outputs(network.under(generated), batch)
    first = {n: value[:1] for n, value in generated.items()}
    alone = network.call(first, batch.history[:1, :1], torch.arange(1, 41)[None, None])[0, 0]
    unseen = logits[0] > -1e8
    torch.testing.assert_close(logits[0][unseen], alone[unseen], rtol=1e-4, atol=1e-5)
    values = task.scores(logits, batch)
    assert tuple(values) == METRICS
    assert {len(value) for value in values.values()} == {len(task.owners(batch))}


@pytest.mark.parametrize("negatives", [None, 8])
def test_fine_tuning_lowers_a_loss_on_what_the_user_took_for_the_first_time(
    data: Interactions, negatives: int | None
) -> None:
    torch.manual_seed(0)
    task = task_of(data, negatives=negatives)
    model = task.device_model(Part(name="sasrec", **SIZES)).eval()
    (batch,) = task.splits(data, model).test(100)
    losses = task.own_loss(model, batch)
    assert losses.shape == (len(batch.target),)
    assert (losses < 50).all(), "an item that the user had taken before is no target"


def test_a_set_without_dates_cannot_roll() -> None:
    data = from_columns("shop", np.repeat([0, 1], 4), np.arange(1, 9), np.arange(8), n_items=8, dated=False)
    task = task_of(data, protocol="rolling")
    with pytest.raises(UserError, match="shop has no dates to roll over"):
        task.splits(data)


def test_the_bias_of_an_item_starts_at_the_logarithm_of_how_often_it_was_taken_in_the_training_rows() -> None:
    items = np.array([1, 1, 1, 2, 3, 3, 2, 2])
    data = from_columns("made-up", np.arange(8), items, np.arange(8), n_items=3)
    task = task_of(data, "moving-averages", protocol="rolling", rolling={"train": 0.5, "validation": 0.25})
    model = task.device_model(Part(name="moving-averages", **SIZES, averages=2))
    task.initialize(model, data)
    bias = model.get_parameter("item_bias.weight").detach()[:, 0]
    assert bias[0] == 0, "padding has none"
    torch.testing.assert_close(bias[1:].diff(), torch.tensor([2.0, 1.0]).div(torch.tensor([4.0, 2.0])).log())
    early = task.earlier()
    early.initialize(model, data)
    assert bias[3] == bias[2], "the teacher of a world's generator knows what came before its own time ends"
