"""Factors act as a change of the weight, keep what is there, and travel in place of their product."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from mnet.toolchain.metanetwork import MetaNetwork, under
from mnet.toolchain.metanetwork.context_sets import SampleSet
from mnet.toolchain.metanetwork.factors import merged, with_factors


class Layers(nn.Module):
    """Ids and an image -> numbers, through each kind of layer that can have factors, and some that cannot."""

    def __init__(self) -> None:
        super().__init__()
        self.items = nn.Embedding(30, 12, padding_idx=0)
        self.conv = nn.Conv2d(3, 12, 3, stride=2, padding=1, bias=False)
        self.grouped = nn.Conv2d(12, 12, 3, padding=1, groups=12)
        self.out = nn.Linear(12, 20)
        self.small = nn.Linear(20, 2)

    def forward(self, ids: Tensor, image: Tensor) -> Tensor:
        hidden = self.items(ids).mean(1) + torch.tanh(self.grouped(self.conv(image))).mean((2, 3))
        return self.small(torch.relu(self.out(hidden)))


NAMES = ("items.weight", "conv.weight", "grouped.weight", "out.weight", "out.bias", "small.weight")
FACTORED = ("items", "conv", "out")


def inputs() -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randint(0, 30, (8, 5)), torch.randn(8, 3, 9, 9)


def factored() -> tuple[nn.Module, nn.Module, tuple[str, ...]]:
    torch.manual_seed(0)
    model = Layers().eval()
    before = copy.deepcopy(model)
    names = with_factors(model, NAMES, rank=3)
    return before, model, names


def test_a_layer_with_factors_starts_as_it_was_and_keeps_its_names() -> None:
    before, model, names = factored()
    assert names == (
        *("items.lora_A", "items.lora_B", "conv.lora_A", "conv.lora_B"),
        *("grouped.weight", "out.lora_A", "out.lora_B", "out.bias", "small.weight"),
    ), "grouped, and too small to be worth it: whole"
    assert torch.equal(model(*inputs()), before(*inputs()))
    assert model.load_state_dict(before.state_dict(), strict=False).unexpected_keys == []
    assert not any(layer.training for layer in model.modules())


def test_factors_act_as_a_change_of_the_weight() -> None:
    before, model, _ = factored()
    with torch.no_grad():
        for layer in FACTORED:
            model.get_parameter(f"{layer}.lora_B").normal_(std=0.3)
        ids, image = inputs()
        changed = model(ids, image)
        assert (changed - before(ids, image)).abs().max() > 0.1
        whole = merged(model)
        for layer in FACTORED:
            assert not whole.get_parameter(f"{layer}.lora_B").any()
        # The row of the padding counts for nothing in either.
        ids = ids.clamp(min=1)
        torch.testing.assert_close(model(ids, image), whole(ids, image), atol=1e-5, rtol=1e-5)
        padding = model.get_submodule("items")(torch.zeros(1, dtype=torch.int64))
        assert torch.equal(
            padding, functional.embedding(torch.zeros(1, dtype=torch.int64), before.items.weight)
        )


def test_packs_have_factors_of_their_own_and_carry_no_product() -> None:
    torch.manual_seed(0)
    model = Layers().eval()
    network = MetaNetwork(model, NAMES, SampleSet(4, 8), form="low-rank", rank=3)
    assert network.device_model is model
    generated = network.generate(torch.randn(2, 6, 4))
    travels = sum(value[0].numel() for name, value in generated.items() if "lora" in name)
    assert travels == 3 * (30 + 12) + 3 * (12 + 27) + 3 * (12 + 20)
    generated = {name: value + 0.2 * torch.randn_like(value) for name, value in generated.items()}
    together = under(model, generated)(*inputs())
    alone = under(model, generated, one_by_one=True)(*inputs())
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(together[:4], model(*inputs())[:4], atol=1e-3)


def test_factors_of_a_frozen_weight_are_frozen() -> None:
    model = Layers()
    model.conv.requires_grad_(False)
    with_factors(model, NAMES, rank=3)
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert frozen == {"conv.weight", "conv.lora_A", "conv.lora_B"}


@pytest.mark.parametrize("rank", [3, 100])
def test_a_model_that_is_one_layer_is_generated_whole(rank: int) -> None:
    layer = nn.Linear(16, 16)
    assert with_factors(layer, ("weight", "bias"), rank) == ("weight", "bias")
