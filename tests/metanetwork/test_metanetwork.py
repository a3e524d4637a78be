"""MetaNetwork: registered and trained in every part, the same by vmap and by loop, near the static model at first."""

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from device_models.sasrec import SASRec, SASRecConfig
from toolchain.metanetwork import ItemContextEncoder, MetaNetwork, MetaStabilizer

ITEMS, BATCH, LENGTH = 30, 5, 8


@pytest.fixture
def network() -> MetaNetwork:
    torch.manual_seed(0)
    device_model = SASRec(SASRecConfig(ITEMS, width=8, history=4, dropout=0.0))
    encoder = ItemContextEncoder(ITEMS, width=16, length=LENGTH, averages=4, dropout=0.0)
    return MetaNetwork(device_model, SASRec.generated, encoder, width=16)


@pytest.fixture
def context() -> Tensor:
    return torch.randint(1, ITEMS + 1, (BATCH, LENGTH), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def inputs() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    return (
        torch.randint(1, ITEMS + 1, (BATCH, 4), generator=generator),
        torch.randint(1, ITEMS + 1, (BATCH, 10), generator=generator),
    )


def spread(network: MetaNetwork) -> None:
    """Make the generated weights of different contexts really differ."""
    for name, parameter in network.generator.projections.named_parameters():
        if name.endswith("weight"):
            nn.init.normal_(parameter, std=0.2)


def test_every_weight_is_registered_and_gets_a_gradient(
    network: MetaNetwork, context: Tensor, inputs: tuple[Tensor, Tensor]
) -> None:
    names = {name for name, _ in network.named_parameters()}
    for part in ("context_encoder", "generator.hidden", "generator.projections", "device_model"):
        assert any(name.startswith(part) for name in names), part
    network(context, *inputs).square().sum().backward()
    idle = [
        name
        for name, parameter in network.named_parameters()
        if parameter.grad is None or not parameter.grad.any()
    ]
    # A softmax does not change when the same number is added to each of its scores: this one never matters.
    assert idle in ([], ["device_model.encoder.blocks.0.attention.key.bias"])


def test_vmap_gives_what_a_loop_over_samples_gives(
    network: MetaNetwork, context: Tensor, inputs: tuple[Tensor, Tensor]
) -> None:
    spread(network)
    parameters = network.generate(context)
    outputs = network.call(parameters, *inputs)
    for row in range(BATCH):
        one = {name: value[row] for name, value in parameters.items()}
        alone = functional_call(network.device_model, one, tuple(x[row : row + 1] for x in inputs))
        torch.testing.assert_close(outputs[row], alone[0])
    assert not torch.allclose(outputs, network.call({k: v.flip(0) for k, v in parameters.items()}, *inputs))


def test_the_head_alone_gives_what_the_whole_model_gives(
    network: MetaNetwork, context: Tensor, inputs: tuple[Tensor, Tensor]
) -> None:
    spread(network)
    parameters = network.generate(context)
    history, candidates = inputs
    every = network.call_head(parameters, network.device_model.encode(history)[:, -1])
    torch.testing.assert_close(every.gather(1, candidates - 1), network.call(parameters, *inputs))


def test_what_is_generated_first_is_all_but_the_static_model(
    network: MetaNetwork, context: Tensor, inputs: tuple[Tensor, Tensor]
) -> None:
    generated, static = network.generate(context), network.static()
    assert tuple(generated) == tuple(static) == network.generated
    for name, value in generated.items():
        assert value.shape == (BATCH, *static[name].shape)
        assert 0 < (value - static[name]).abs().max() < 0.02
    outputs, unchanged = network(context, *inputs), network.device_model(*inputs)
    assert (outputs - unchanged).abs().max() < 0.05 * unchanged.std()


def test_no_context_moves_a_weight_beyond_the_bound() -> None:
    shared = {"w": torch.tensor([1.0, -1.0])}
    moved = MetaStabilizer(0.5)(shared, {"w": torch.tensor([[1e6, -1e6], [0.01, 0.0]])})["w"]
    torch.testing.assert_close(moved[0], torch.tensor([1.5, -1.5]))
    torch.testing.assert_close(moved[1], torch.tensor([1.01, -1.0]), atol=1e-4, rtol=0)
    with pytest.raises(ValueError, match="bound must be positive"):
        MetaStabilizer(0.0)


def test_it_goes_around_any_module(context: Tensor) -> None:
    encoder = ItemContextEncoder(ITEMS, width=16, length=LENGTH, averages=4)
    network = MetaNetwork(
        nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)), ["2.weight"], encoder, 16
    )
    assert network(context, torch.randn(BATCH, 3)).shape == (BATCH, 2)


@pytest.mark.parametrize(("names", "message"), [(["head_inn.weight"], "head_inn.weight"), ([], "nothing")])
def test_an_unknown_name_is_an_error_that_says_what_there_is(names: list[str], message: str) -> None:
    encoder = ItemContextEncoder(ITEMS, width=16, length=LENGTH, averages=4)
    with pytest.raises(ValueError, match=f"cannot generate {message}: the device model has .*head_in.weight"):
        MetaNetwork(SASRec(SASRecConfig(ITEMS)), names, encoder, 16)
