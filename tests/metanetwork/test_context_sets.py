"""The encoder of sets: any order, any number of samples; every cut; what varies counts."""

import pytest
import torch
from torch import Tensor, nn

from mnet.toolchain.metanetwork import SetContext


@pytest.fixture
def encoder() -> SetContext:
    torch.manual_seed(0)
    return SetContext(features=6, width=16, classes=3).eval()


@pytest.fixture
def context() -> Tensor:
    return torch.randn(4, 9, 6, generator=torch.Generator().manual_seed(1))


def test_the_order_makes_no_difference(encoder: SetContext, context: Tensor) -> None:
    torch.testing.assert_close(encoder(context[:, torch.randperm(9)]), encoder(context))


def test_padding_makes_no_difference(encoder: SetContext, context: Tensor) -> None:
    torch.testing.assert_close(encoder(nn.functional.pad(context, (0, 0, 5, 0))), encoder(context))
    assert torch.equal(encoder(torch.zeros(1, 9, 6)), torch.zeros(1, 16))


def test_every_cut_has_the_vector_of_the_samples_up_to_it(encoder: SetContext, context: Tensor) -> None:
    vectors = encoder.at_every_item(context)
    torch.testing.assert_close(encoder.at_every_item(context, last=2), vectors[:, -2:])
    for cut in range(1, 10):
        torch.testing.assert_close(vectors[:, cut - 1], encoder(context[:, :cut]))


def test_sets_of_equal_mean_and_other_spread_differ(encoder: SetContext, context: Tensor) -> None:
    centre = context.mean(dim=1, keepdim=True)
    assert (encoder(context) - encoder(centre + 0.1 * (context - centre))).abs().max() > 1e-2


def test_every_weight_gets_a_gradient(encoder: SetContext, context: Tensor) -> None:
    encoder.scores(encoder(context)).square().sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name
