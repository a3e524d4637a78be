"""MetaNetwork: registered and trained in every part, near the static model at first, around any module."""

import pytest
import torch
from torch import Tensor, nn

from mnet.device_models.sasrec import SASRec, SASRecConfig
from mnet.toolchain.metanetwork import Form, MetaNetwork, MovingAverages, SetContext

ITEMS, PACKS, ROWS, LENGTH = 30, 5, 3, 8

FORMS: list[tuple[Form, int | None]] = [("residual", None), ("full", None), ("low-rank", 2)]


def make(form: Form = "residual", rank: int | None = None, windows: int = 1) -> MetaNetwork:
    torch.manual_seed(0)
    device_model = SASRec(SASRecConfig(ITEMS, width=8, history=4, dropout=0.0))
    encoder = MovingAverages(ITEMS, width=16, length=LENGTH, averages=4, dropout=0.0)
    return MetaNetwork(device_model, SASRec.generated, encoder, form=form, rank=rank, windows=windows)


@pytest.fixture
def context() -> Tensor:
    return torch.randint(1, ITEMS + 1, (PACKS, LENGTH), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def inputs() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    return (
        torch.randint(1, ITEMS + 1, (PACKS, ROWS, 4), generator=generator),
        torch.randint(1, ITEMS + 1, (PACKS, ROWS, 10), generator=generator),
    )


@pytest.mark.parametrize(("form", "rank"), FORMS)
def test_every_weight_is_registered_and_gets_a_gradient(
    form: Form, rank: int | None, context: Tensor, inputs: tuple[Tensor, Tensor]
) -> None:
    network = make(form, rank)
    names = {name for name, _ in network.named_parameters()}
    for part in ("context_encoder", "generator.hidden", "generator.projections", "device_model"):
        assert any(name.startswith(part) for name in names), part
    network(context, *inputs).square().sum().backward()
    idle = {
        name
        for name, parameter in network.named_parameters()
        if parameter.grad is None or not parameter.grad.any()
    }
    # A softmax does not change when the same number is added to each of its scores: this one never matters.
    idle.discard("device_model.encoder.blocks.0.attention.key.bias")
    # Weights from nothing have no shared weights in them.
    assert idle == ({f"device_model.{name}" for name in network.generated} if form == "full" else set())


def test_under_generated_weights_a_device_model_gives_what_call_gives(
    context: Tensor, inputs: tuple[Tensor, Tensor]
) -> None:
    network = make("full")
    parameters = network.generate(context)
    history, candidates = (x.flatten(0, 1) for x in inputs)
    model = network.under(parameters)
    every = model.head(model.encode(history, last=1)[:, -1])
    some = model(history, candidates)
    torch.testing.assert_close(every.gather(1, candidates - 1), some)
    expected = network.call(parameters, *inputs)
    torch.testing.assert_close(some.unflatten(0, (PACKS, ROWS)), expected)
    torch.testing.assert_close(network(context, *inputs), expected)
    assert (some - network.device_model(history, candidates)).abs().max() > 0.1 * some.std()


def test_what_is_generated_first_is_all_but_the_static_model(
    context: Tensor, inputs: tuple[Tensor, Tensor]
) -> None:
    network = make()
    generated, static = network.generate(context), network.static()
    assert tuple(generated) == tuple(static) == network.generated
    for name, value in generated.items():
        assert value.shape == (PACKS, *static[name].shape)
        assert 0 < (value - static[name]).abs().max() < 0.02
    outputs = network(context, *inputs)
    unchanged = network.device_model(*(x.flatten(0, 1) for x in inputs)).view_as(outputs)
    assert (outputs - unchanged).abs().max() < 0.05 * unchanged.std()


def test_an_averaged_context_is_the_mean_over_its_last_cuts(context: Tensor) -> None:
    network = make("full", windows=3)
    cuts = [
        network.context_encoder(nn.functional.pad(context[:, : LENGTH - newest], (newest, 0)))
        for newest in range(3)
    ]
    expected = network.generate_from(torch.stack(cuts).mean(dim=0))
    for name, value in network.generate(context).items():
        torch.testing.assert_close(value, expected[name])


def test_it_goes_around_any_module_and_any_context() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))
    network = MetaNetwork(
        model, ["0.weight", "3.weight", "3.bias"], SetContext(features=6, width=8, classes=2)
    )
    images = torch.randn(PACKS, ROWS, 3, 4, 4)
    assert network(torch.randn(PACKS, 7, 6), images).shape == (PACKS, ROWS, 2)
