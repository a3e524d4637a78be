"""What would train and then not be right is refused before the first fit, by name; every kind of layer trains."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mnet.toolchain.data import load_interactions
from mnet.toolchain.errors import UserError
from mnet.toolchain.metanetwork import MetaNetwork, pack_rules
from mnet.toolchain.metanetwork.context_sets import SampleSet
from mnet.toolchain.settings import Part
from mnet.toolchain.tasks.recommendation import Recommendation
from mnet.toolchain.tasks.recommendation_settings import RecommendationSettings
from mnet.toolchain.tasks.supervised import SampleBatch, SampleSplits, SupervisedSettings
from mnet.toolchain.training.preflight import preflight
from mnet.toolchain.training.scorers import GeneratedScorer
from tests.training.sensors import NextReading
from tests.training.strangers import KINDS, Swinging

DATA = NextReading.load("made-up", None)
TASK = NextReading.create(
    SupervisedSettings(context=8, serves=4), NextReading.facts(DATA), Part(name="x"), None
)
SPLITS = SampleSplits(DATA, TASK.settings)


def network(model: nn.Module, *generated: str) -> MetaNetwork:
    torch.manual_seed(0)
    return MetaNetwork(model, generated, SampleSet(len(TASK.mean), 8))


def found(model: nn.Module, *generated: str, task: Any = TASK) -> dict[str, str]:
    notes: dict[str, str] = {}
    preflight(task, network(model, *generated), SPLITS, notes.__setitem__)
    return notes


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_layer_passes_and_trains(kind: str) -> None:
    torch.manual_seed(0)
    model, names = KINDS[kind]()
    if (
        kind == "MultiheadAttention"
    ):  # a softmax does not change when the same number is added to all its scores
        names = [name for name in names if not name.endswith("in_proj_bias")]
    notes = found(model, *names)
    assert "as each by itself" in notes["all packs at once"]
    assert notes["trained and exported model"].startswith("agree")
    trained = network(model, *names)
    scorer = GeneratedScorer(TASK, trained)
    optimizer = torch.optim.AdamW(scorer.parameters(), 1e-2)
    batches = list(SPLITS.training(200, 0))
    losses = []
    for batch in batches * 4:
        optimizer.zero_grad()
        loss = scorer.loss(batch).total
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert all(
        value.grad is not None and value.grad.isfinite().all() for value in trained.generator.parameters()
    )
    assert sum(losses[-len(batches) :]) < 0.97 * sum(losses[: len(batches)])


def test_a_checked_network_is_as_before() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 1), nn.Flatten(0))
    checked = network(model, "2.weight").train()
    before = {name: value.clone() for name, value in checked.state_dict().items()}
    random = torch.get_rng_state()
    preflight(TASK, checked, SPLITS, lambda *_: None)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, before[name]) for name, value in checked.state_dict().items())
    assert model[1].training


def test_a_wrong_rule_is_found_with_parameter_and_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    right = pack_rules.RULES[nn.functional.linear]

    def wrong(packs: Any, input: Tensor, weight: Tensor, bias: Any = None) -> Tensor:
        return right(packs, input, packs.tensor(packs.rows(weight).flip(0)), bias)

    monkeypatch.setitem(pack_rules.RULES, nn.functional.linear, wrong)
    with pytest.raises(
        UserError, match=r"out.weight is generated and goes into \S*linear: for all packs at once"
    ):
        found(Swinging(), "out.weight")


class Decides(Swinging):
    def forward(self, series: Tensor) -> Tensor:
        y = self.out(series)[:, 0]
        return y if self.out.weight.sum().item() > 0 else 2 * y


def test_what_runs_once_for_each_pack_is_said_to() -> None:
    assert "it runs once for each, exact and slower" in found(Decides(), "out.weight")["all packs at once"]


class Noisy(Swinging):
    def forward(self, series: Tensor) -> Tensor:
        return self.out(series + torch.rand_like(series))[:, 0]


class Normalised(Swinging):
    def forward(self, series: Tensor) -> Tensor:
        return self.norm(self.out(series))[:, 0]


class Cancelled(Swinging):
    def forward(self, series: Tensor) -> Tensor:
        y = self.out(series)
        return (y - y.detach() + y.detach())[:, 0] + 0 * self.idle(series)[:, 0]


@pytest.mark.parametrize(
    ("model", "generated", "message"),
    [
        (Noisy, "out.weight", "Noisy gives other outputs for the same input in eval mode"),
        (Swinging, "idle.bias", "cannot generate idle.bias: the forward pass does not use it"),
        (Cancelled, "idle.bias", "cannot generate idle.bias: it changes no output"),
    ],
)
def test_a_model_is_refused_by_name(model: Callable[[], nn.Module], generated: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        found(model(), "out.bias", generated) if generated != "out.weight" else found(model(), generated)


def test_a_batch_norm_behind_a_generated_layer_passes() -> None:
    assert found(Normalised(), "out.weight")["all packs at once"].startswith("as each by itself")


class Mixing(NextReading):
    def outputs(self, model: nn.Module, batch: SampleBatch) -> Any:
        return super().outputs(model, batch).unflatten(0, batch.target.shape).T.flatten()


def test_a_task_that_mixes_packs_is_refused() -> None:
    task = Mixing.create(TASK.settings, NextReading.facts(DATA), Part(name="x"), None)
    with pytest.raises(UserError, match="task mixing: the weights of one pack change the outputs of another"):
        found(Swinging(), "out.weight", task=task)


def test_a_recommender_that_ships_something_else_than_it_trains_is_refused() -> None:
    data = load_interactions("synthetic-drift", None)
    model = Part.model_validate({"name": "sasrec", "width": 8, "history": 5})
    context = Part.model_validate({"name": "moving-averages", "width": 8, "averages": 2, "length": 10})
    settings = RecommendationSettings.model_validate({"ranking": "all", "candidates": 300})
    task = Recommendation.create(settings, {"n_items": data.n_items}, model, context)
    device_model = task.device_model(model)
    recommender = MetaNetwork(device_model, device_model.generated, task.context_encoder(context))
    splits, notes = task.splits(data, recommender), dict[str, str]()
    preflight(task, recommender, splits, notes.__setitem__)
    assert notes["trained and exported model"].startswith("agree")
    forward = device_model.forward
    device_model.forward = lambda history, candidates: 2 * forward(history, candidates)
    with pytest.raises(UserError, match="SASRec trains as one thing and ships as another"):
        preflight(task, recommender, splits, notes.__setitem__)
