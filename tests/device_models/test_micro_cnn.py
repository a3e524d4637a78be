"""The CNN of a microcontroller: sizes, and that an exporter has nothing to fold into a generated layer."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from mnet.device_models.micro_cnn import MicroCNN, MicroCNNConfig
from mnet.toolchain.metanetwork import call, under


@pytest.fixture
def model() -> MicroCNN:
    torch.manual_seed(0)
    model = MicroCNN(MicroCNNConfig(n_classes=5, width=4))
    model(torch.rand(64, 3, 16, 16))  # running statistics of BatchNorm that are not its initial ones
    return model.eval()


def test_the_default_is_for_a_microcontroller() -> None:
    model = MicroCNN(MicroCNNConfig(n_classes=10))
    generated = sum(model.get_parameter(name).numel() for name in model.generated)
    assert (sum(p.numel() for p in model.parameters()), generated) == (4_266, 4_026)


def test_everything_but_the_norms_is_generated(model: MicroCNN) -> None:
    rest = {name for name, _ in model.named_parameters()} - set(model.generated)
    norms = [name for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)]
    assert rest == {f"{name}.{kind}" for name in norms for kind in ("weight", "bias")}


def test_no_batch_norm_comes_right_after_a_convolution(model: MicroCNN) -> None:
    order: list[nn.Module] = []
    for module in model.modules():
        if not list(module.children()):
            module.register_forward_hook(lambda module, inputs, output: order.append(module))
    model(torch.rand(1, 3, 16, 16))
    followers = {type(after) for before, after in pairwise(order) if isinstance(before, nn.Conv2d)}
    assert followers == {nn.Conv2d, nn.ReLU}


def test_each_pack_has_its_own_convolutions(model: MicroCNN) -> None:
    packs = {
        name: model.get_parameter(name).detach() + 0.1 * torch.randn(3, *model.get_parameter(name).shape)
        for name in model.generated
    }
    images = torch.rand(3, 2, 3, 16, 16)
    with torch.no_grad():
        together = under(model, packs)(images.flatten(0, 1))
    torch.testing.assert_close(together, call(model, packs, images).flatten(0, 1), atol=1e-5, rtol=1e-5)


def test_it_exports_with_batch_1(model: MicroCNN) -> None:
    program = torch.export.export(model, (torch.rand(1, 3, 16, 16),))
    other = torch.rand(1, 3, 16, 16)
    torch.testing.assert_close(program.module()(other), model(other))
