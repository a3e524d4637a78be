"""The prior that a cloud finds, as what is pushed: ten numbers that begin as the closed form."""

import pytest
import torch
from torch import Tensor, nn

from mnet.toolchain.metanetwork import MetaNetwork
from mnet.toolchain.metanetwork.context_class_prior import ClassPriorContext
from mnet.toolchain.metanetwork.label_prior import label_prior


class ByColour(nn.Module):
    """Sees class 0, 1 or 2 where red, green or blue is the brightest."""

    def forward(self, image: Tensor) -> Tensor:
        return 8 * image.mean(dim=(2, 3))


@pytest.fixture
def encoder() -> ClassPriorContext:
    made = ClassPriorContext(3, temperature=2.0, smoothing=0.5, scale=1.5)
    made.look_through(ByColour())
    return made


@pytest.fixture
def context() -> Tensor:
    return torch.randint(
        1, 256, (4, 6, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )


def test_a_generator_begins_as_the_closed_form(encoder: ClassPriorContext, context: Tensor) -> None:
    torch.manual_seed(0)
    model = nn.Linear(5, 3)
    network = MetaNetwork(model, ["bias"], encoder, bound=None)
    encoder.begin(network.generator)
    context[:, :, 1] //= 2
    probability = (ByColour()(context.flatten(0, 1).float() / 255) / 2.0).softmax(dim=1).view(4, 6, 3)
    share = torch.full((3,), 1 / 3)
    expected = model.bias + 1.5 * (label_prior(probability, share, 0.5) / share).log()
    torch.testing.assert_close(network.generate(context)["bias"], expected)
    assert (expected - model.bias).abs().max() > 0.1


def test_padding_counts_for_nothing_and_cuts_are_what_came_before(
    encoder: ClassPriorContext, context: Tensor
) -> None:
    black = torch.zeros_like(context)
    torch.testing.assert_close(encoder(torch.cat([black, context], dim=1)), encoder(context))
    assert torch.equal(encoder(black), torch.zeros(4, 6))
    torch.testing.assert_close(encoder.at_every_item(context)[:, 2], encoder(context[:, :3]))
    assert torch.equal(encoder.scores(encoder(context)), encoder(context)[:, :3])


def test_it_generates_the_biases_and_nothing_else(encoder: ClassPriorContext) -> None:
    for names, form in ((["bias", "weight"], "residual"), (["weight"], "residual"), (["bias"], "full")):
        network = MetaNetwork(nn.Linear(5, 3), names, encoder, form=form, bound=None)
        with pytest.raises(
            ValueError, match="changes the classifier's biases alone: generate these 3 numbers"
        ):
            encoder.begin(network.generator)
