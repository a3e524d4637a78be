"""The CNN: sizes, what the generated layers may touch, export, and that it learns."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from mnet.device_models.cnn import CNN, CNNConfig

CONFIG = CNNConfig(n_classes=5, width=4, features=12)


@pytest.fixture
def model() -> CNN:
    torch.manual_seed(0)
    model = CNN(CONFIG)
    model(torch.rand(64, 3, 32, 32))  # running statistics of BatchNorm that are not its initial ones
    return model.eval()


def test_the_default_is_compact() -> None:
    model = CNN(CNNConfig(n_classes=10))
    generated = sum(model.get_parameter(name).numel() for name in model.generated)
    assert (sum(p.numel() for p in model.parameters()), generated) == (67_210, 17_802)


def test_no_batch_norm_lies_behind_a_generated_layer(model: CNN) -> None:
    order: list[nn.Module] = []
    for module in model.modules():
        module.register_forward_hook(lambda module, inputs, output: order.append(module))
    model(torch.rand(1, 3, 32, 32))
    behind = order[order.index(model.pointwise) :]
    assert not any(isinstance(module, nn.BatchNorm2d) for module in behind)


def test_the_embedding_is_the_same_under_any_generated_weights(model: CNN) -> None:
    images = torch.rand(3, 3, 32, 32)
    embedding, logits = model.embed(images), model(images)
    with torch.no_grad():
        for name in model.generated:
            model.get_parameter(name).normal_()
    assert embedding.shape == (3, model.embedding_width)
    assert torch.equal(model.embed(images), embedding)
    assert not torch.allclose(model(images), logits)


def test_the_pointwise_layer_is_a_1x1_convolution(model: CNN) -> None:
    images = torch.rand(3, 3, 32, 32)
    features = functional.conv2d(
        model.base(images), model.pointwise.weight[:, :, None, None], model.pointwise.bias
    )
    torch.testing.assert_close(model(images), model.classifier(torch.relu(features).mean(dim=(2, 3))))


@pytest.mark.parametrize("size", [(32, 32), (64, 48)])
def test_it_exports_with_batch_1(model: CNN, size: tuple[int, int]) -> None:
    program = torch.export.export(model, (torch.rand(1, 3, *size),))
    other = torch.rand(1, 3, *size)
    torch.testing.assert_close(program.module()(other), model(other))


def test_it_learns_to_tell_stripes_apart() -> None:
    generator = torch.Generator().manual_seed(0)
    # Two classes of horizontal stripes, two of vertical ones; in each pair 2 and 4 pixels wide.
    label = torch.arange(4).repeat(32)
    phase = torch.arange(32) // (2 + 2 * (label % 2))[:, None] % 2
    stripes = torch.where(
        (label < 2)[:, None, None], phase[:, None, :].expand(-1, 32, -1), phase[:, :, None].expand(-1, -1, 32)
    )
    images = 0.5 + 0.3 * stripes[:, None] + 0.1 * torch.rand(128, 3, 32, 32, generator=generator)
    torch.manual_seed(0)
    model = CNN(CNNConfig(n_classes=4, width=4, features=16))
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    for _ in range(40):
        loss = functional.cross_entropy(model(images), label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (model.eval()(images).argmax(dim=1) == label).float().mean() > 0.9
