"""The encoder of images: any order, any number of them; every cut; how a device is held counts."""

import pytest
import torch
from torch import Tensor, nn

from mnet.device_models.micro_cnn import MicroCNN, MicroCNNConfig
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


class Bright(nn.Module):
    """Class 2 for every image that is bright, else class 0."""

    def forward(self, image: Tensor) -> Tensor:
        return 9 * nn.functional.one_hot(2 * (image.mean(dim=(1, 2, 3)) > 0.5).long(), 3).float()


def test_it_knows_the_classes_that_its_classifier_sees(encoder: ImageContext, context: Tensor) -> None:
    context[0] = 250
    context[1, :4], context[1, 4:] = 250, 10
    encoder.look_through(Bright())
    priors = encoder.at_every_item(context)[..., -3:].softmax(dim=2)
    # All bright: five images of class 2, and one sample's worth of all three classes.
    torch.testing.assert_close(priors[0, -1], torch.tensor([1 / 3, 1 / 3, 5 + 1 / 3]) / 6, atol=1e-3, rtol=0)
    assert priors[1, 3, 2] > 0.8 > priors[1, 4, 2] > 0.6
    torch.testing.assert_close(encoder(context[:, :4]), encoder.at_every_item(context)[:, 3])
    black = torch.zeros_like(context)
    torch.testing.assert_close(encoder(torch.cat([black, context], dim=1)), encoder(context))
    assert torch.equal(encoder(black), torch.zeros(2, 19))
    assert encoder.scores(encoder(context)).shape == (2, 3)


def test_the_classifier_stays_as_it_is(encoder: ImageContext, context: Tensor) -> None:
    classifier = MicroCNN(MicroCNNConfig(n_classes=3, width=4))
    encoder.look_through(classifier)
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    encoder.train()(context).sum().backward()
    assert all(torch.equal(value, before[name]) for name, value in classifier.state_dict().items())
    assert all(parameter.grad is None for parameter in classifier.parameters())


def test_every_weight_gets_a_gradient(encoder: ImageContext, context: Tensor) -> None:
    encoder.scores(encoder(context)).square().sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name
