"""The three forms of the generator: how large they are, and where they start."""

import pytest
import torch
from torch import nn

from mnet.toolchain.metanetwork import Form, MetaGenerator

WIDTH, CONTEXTS = 32, 500


@pytest.fixture
def layers() -> nn.Module:
    """A conv, a norm and a Linear, of known spread."""
    torch.manual_seed(0)
    layers = nn.ModuleDict({"conv": nn.Conv2d(8, 16, 3), "norm": nn.LayerNorm(16), "out": nn.Linear(64, 48)})
    nn.init.normal_(layers["conv"].weight, std=0.1)
    nn.init.normal_(layers["out"].weight, std=0.3)
    return layers


def generator(layers: nn.Module, form: Form, rank: int | None = None) -> MetaGenerator:
    return MetaGenerator(dict(layers.named_parameters()), WIDTH, form, rank)


def test_a_generator_puts_out_one_number_for_each_weight_or_less_by_low_rank(layers: nn.Module) -> None:
    conv, vectors, out = 16 * 8 * 9, 16 + 16 + 16 + 48, 64 * 48
    assert generator(layers, "residual").outputs == conv + vectors + out
    assert generator(layers, "full").outputs == conv + vectors + out
    assert generator(layers, "low-rank", 4).outputs == 4 * (16 + 72) + vectors + 4 * (64 + 48)
    # 16 * 72 = 1152 is less than 15 * (16 + 72) = 1320: the conv is generated in full, the Linear still is not.
    assert generator(layers, "low-rank", 15).outputs == conv + vectors + 15 * (64 + 48)


@pytest.mark.parametrize(("form", "rank"), [("residual", None), ("low-rank", 4)])
def test_residuals_start_near_zero_and_in_the_shape_of_the_parameter(
    layers: nn.Module, form: Form, rank: int | None
) -> None:
    residuals = generator(layers, form, rank)(torch.randn(CONTEXTS, WIDTH))
    for name, parameter in layers.named_parameters():
        assert residuals[name].shape == (CONTEXTS, *parameter.shape)
        assert 0 < residuals[name].std() < 0.02


def test_a_low_rank_residual_has_that_rank(layers: nn.Module) -> None:
    residuals = generator(layers, "low-rank", 3)(torch.randn(2, WIDTH))
    assert torch.linalg.matrix_rank(residuals["out.weight"]).tolist() == [3, 3]
    assert torch.linalg.matrix_rank(residuals["conv.weight"].flatten(2)).tolist() == [3, 3]


def test_full_weights_start_at_the_usual_scale(layers: nn.Module) -> None:
    weights = generator(layers, "full").requires_grad_(False)(torch.randn(CONTEXTS, WIDTH))
    assert weights["conv.weight"].std() == pytest.approx(0.1, rel=0.1)
    assert weights["out.weight"].std() == pytest.approx(0.3, rel=0.1)
    # They differ from context to context as much as they differ among each other: there is nothing they share.
    assert weights["out.weight"].std(dim=0).mean() == pytest.approx(0.3, rel=0.3)
    # A norm begins as every norm does.
    torch.testing.assert_close(weights["norm.weight"], torch.ones(CONTEXTS, 16))
    torch.testing.assert_close(weights["norm.bias"], torch.zeros(CONTEXTS, 16))


@pytest.mark.parametrize(
    ("form", "rank"), [("low-rank", None), ("low-rank", 0), ("residual", 2), ("hyper", None)]
)
def test_a_form_and_a_rank_that_do_not_go_together_are_refused(
    layers: nn.Module, form: Form, rank: int | None
) -> None:
    with pytest.raises(ValueError, match=form):
        generator(layers, form, rank)
