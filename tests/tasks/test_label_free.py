"""Each step against what it stands for: a prior that was drawn, a shift that was added, PyTorch's own statistics."""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from mnet.device_models.cnn import CNN, CNNConfig
from mnet.toolchain.errors import UserError
from mnet.toolchain.metanetwork.label_prior import label_prior
from mnet.toolchain.tasks.label_free import LabelFree, Source, context_statistics
from tests.tasks.test_classification import make

SHARE = torch.tensor([0.25, 0.25, 0.25, 0.25])


class Devices(NamedTuple):
    """What `LabelFree` reads of a batch; here "images" are the vectors that a Linear classifies."""

    context: Tensor
    image: Tensor


def drawn(prior: Tensor, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Classes int64 [count] by `prior`, and a vector each: its class's corner of a simplex, and noise."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.multinomial(prior, count, replacement=True, generator=generator)
    return label, functional.one_hot(label, 4) + 0.7 * torch.randn(count, 4, generator=generator)


def best_classifier() -> nn.Linear:
    """The Bayes rule of `drawn` where all four classes are as frequent."""
    layer = nn.Linear(4, 4)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(4) / 0.49)
        layer.bias.zero_()
    return layer


def accuracy(method: LabelFree, batch: Devices, label: Tensor, source: Source, **settings: float) -> float:
    (logits,) = method.outputs(best_classifier(), source, batch, [{**method.start, **settings}])
    return float((logits.argmax(dim=1) == label).float().mean())


@pytest.fixture
def source() -> Source:
    return Source(SHARE, torch.eye(4))


def test_em_finds_the_prior_that_the_samples_were_drawn_by() -> None:
    priors = torch.tensor([[0.7, 0.2, 0.1, 0.0], [0.25, 0.25, 0.25, 0.25]])
    vectors = torch.stack([drawn(prior, 4000, seed)[1] for seed, prior in enumerate(priors)])
    predicted = best_classifier()(vectors).softmax(dim=2)
    assert (predicted.mean(dim=1)[0] - priors[0]).abs().max() > 0.1, (
        "the soft predictions alone do not tell it"
    )
    torch.testing.assert_close(label_prior(predicted, SHARE, 0.01), priors, atol=0.03, rtol=0)


def test_a_prior_without_evidence_is_that_of_the_training_data() -> None:
    share = torch.tensor([0.7, 0.1, 0.1, 0.1])
    torch.testing.assert_close(label_prior(share.expand(1, 5, 4), share, 1.0)[0], share)
    certain = torch.eye(4)[[2] * 5][None]
    # Five samples of class 2, and five samples' worth of the training data.
    torch.testing.assert_close(label_prior(certain, share, 5.0)[0], (share + torch.eye(4)[2]) / 2)


def test_samples_that_are_not_there_do_not_count() -> None:
    probability = torch.rand(2, 6, 4).softmax(dim=2)
    present = torch.tensor([1.0, 0.0, 1.0, 1.0, 0.0, 0.0]).expand(2, 6)
    expected = label_prior(probability[:, [0, 2, 3]], SHARE, 2.0)
    torch.testing.assert_close(label_prior(probability, SHARE, 2.0, present), expected)


def test_the_prior_of_a_device_makes_its_predictions_better(source: Source) -> None:
    label, vectors = drawn(torch.tensor([0.8, 0.2, 0.0, 0.0]), 1032, 0)
    batch = Devices(vectors[None, :32], vectors[None, 32:])
    method = LabelFree(["label-prior"], lambda x: x)
    plain = float((best_classifier()(vectors[32:]).argmax(dim=1) == label[32:]).float().mean())
    assert accuracy(method, batch, label[32:], source, smoothing=0.3) > plain + 0.1


def test_centring_takes_back_a_shift_of_all_features(source: Source) -> None:
    label, vectors = drawn(SHARE, 2000, 0)
    shifted = vectors + torch.tensor([1.5, 0.0, 0.0, 0.0])
    plain, centred = (
        LabelFree(["label-prior"], lambda x: x),
        LabelFree(["centring", "label-prior"], lambda x: x),
    )
    batch = Devices(shifted[None, :1000], shifted[None, 1000:])
    # The prior is known here, that of the training data: what it cannot explain is the shift.
    settings = {"smoothing": 1e6, "centred": 1.0}
    better, worse = (accuracy(m, batch, label[1000:], source, **settings) for m in (centred, plain))
    unshifted = accuracy(plain, Devices(vectors[None, :1000], vectors[None, 1000:]), label[1000:], source)
    assert better == pytest.approx(unshifted, abs=0.03)
    assert worse < better - 0.1


def test_prototypes_are_the_means_of_the_surest_samples(source: Source) -> None:
    """Against the same written as loops, device by device and class by class."""
    _, vectors = drawn(SHARE, 30, 0)
    batch = Devices(vectors.view(2, 15, 4)[:, :10], vectors.view(2, 15, 4)[:, 10:])
    layer = best_classifier()
    (logits,) = LabelFree(["t3a"], lambda x: x).outputs(layer, source, batch, [{"supports": 2}])
    for device in range(2):
        probability = layer(batch.context[device]).softmax(dim=1)
        entropy = -(probability * probability.log()).sum(dim=1)
        prototypes = []
        for label in range(4):
            own = [i for i in range(10) if int(probability[i].argmax()) == label]
            surest = sorted(own, key=lambda i: float(entropy[i].detach()))[:2]
            rows = [layer.weight[label], *batch.context[device][surest]]
            prototypes.append(torch.stack([row / row.norm() for row in rows]).mean(dim=0))
        expected = functional.normalize(batch.image[device], dim=1) @ torch.stack(prototypes).T
        ours = logits.view(2, 5, 4)[device]
        assert (ours.argmax(dim=1) == expected.argmax(dim=1)).all()
        ratio = ours / expected
        torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio))


def test_statistics_are_those_of_the_context_alone() -> None:
    torch.manual_seed(0)
    model = CNN(CNNConfig(4, width=4, features=6)).eval()
    context, served = torch.rand(2, 6, 3, 16, 16), torch.rand(2, 3, 3, 16, 16) * 3
    with torch.no_grad(), context_statistics(model, 99, 1.0, devices=2, context=6):
        together = model(torch.cat([context, served], dim=1).flatten(0, 1)).unflatten(0, (2, 9))
    with torch.no_grad(), context_statistics(model, 99, 0.0, devices=2, context=6):
        unmoved = model(served.flatten(0, 1))
    torch.testing.assert_close(unmoved, model(served.flatten(0, 1)), atol=1e-5, rtol=1e-5)
    # Training mode takes them from the whole batch: with one device's context in it, the same but for the variance,
    # of which PyTorch normalises by the one that is not corrected, as we do.
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.train()
    for device in range(2):
        with torch.no_grad():
            expected = model(context[device])
        torch.testing.assert_close(together[device, :6], expected, atol=1e-5, rtol=1e-5)


def test_what_trials_share_is_computed_once(source: Source) -> None:
    calls = 0

    def count(photos: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return photos

    class Counted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.runs = best_classifier(), 0

        def forward(self, x: Tensor) -> Tensor:
            self.runs += 1
            return self.layer(x)

    _, vectors = drawn(SHARE, 20, 0)
    model, method = Counted(), LabelFree(["centring", "label-prior"], count)
    trials = method.around("label-prior", method.start)
    outputs = list(method.outputs(model, source, Devices(vectors[None, :10], vectors[None, 10:]), trials))
    assert len(outputs) == len(trials) > 20
    assert (calls, model.runs) == (1, 1)


@pytest.mark.parametrize("steps", [[], ["magic"], ["label-prior", "statistics"], ["t3a", "t3a"]])
def test_steps_are_known_and_in_their_order(steps: list[str]) -> None:
    with pytest.raises(
        UserError, match=r"on_device: .*expected some of statistics, centring, t3a, label-prior"
    ):
        make().on_device(steps)
