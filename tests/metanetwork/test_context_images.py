"""The encoder of images: any order, any number of them; every cut; how a device is held counts."""

import pytest
import torch
from torch import Tensor

from mnet.toolchain.metanetwork.context_images import ImageContext


@pytest.fixture
def encoder() -> ImageContext:
    torch.manual_seed(0)
    return ImageContext(classes=3, width=16, channels=4).eval()


@pytest.fixture
def context() -> Tensor:
    return torch.randint(1, 256, (2, 5, 3, 16, 16), generator=torch.Generator().manual_seed(1)).byte()


def test_the_order_makes_no_difference(encoder: ImageContext, context: Tensor) -> None:
    torch.testing.assert_close(encoder(context[:, torch.randperm(5)]), encoder(context))


def test_padding_makes_no_difference(encoder: ImageContext, context: Tensor) -> None:
    black = torch.zeros(2, 4, 3, 16, 16, dtype=torch.uint8)
    torch.testing.assert_close(encoder(torch.cat([black, context], dim=1)), encoder(context))
    assert torch.equal(encoder(black), torch.zeros(2, 16))


def test_every_cut_has_the_vector_of_the_images_up_to_it(encoder: ImageContext, context: Tensor) -> None:
    vectors = encoder.at_every_item(context)
    torch.testing.assert_close(encoder.at_every_item(context, last=2), vectors[:, -2:])
    for cut in range(1, 6):
        torch.testing.assert_close(vectors[:, cut - 1], encoder(context[:, :cut]))


def test_turned_and_recoloured_devices_differ(encoder: ImageContext, context: Tensor) -> None:
    bright_above = context.clone()
    bright_above[..., :8, :] = 250
    for other in (torch.rot90(bright_above, 1, (-2, -1)), bright_above.flip(2)):
        assert (encoder(other) - encoder(bright_above)).abs().max() > 1e-2


def test_every_weight_gets_a_gradient(encoder: ImageContext, context: Tensor) -> None:
    encoder.scores(encoder(context)).square().sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name
