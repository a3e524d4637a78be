"""A residual CNN that no phone runs: what a cloud can look at uploaded images through.

After the ResNets of nine layers that are trained to 94 % of CIFAR-10 in few epochs (Page 2018, "How to train your
ResNet", https://github.com/davidcpage/cifar10-fast); He et al. 2016, arXiv:1512.03385.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

MODELS = {"classification": {"residual": "ResidualCNN"}}

# In training each image is moved by at most so many pixels.
SHIFT = 4


@dataclass(frozen=True)
class ResidualCNNConfig:
    """Sizes of a ResidualCNN; the defaults make 927,010 parameters with 10 classes.

    Attributes:
        n_classes: given by the data set.
        width: channels behind the first convolution; they then double three times.
    """

    n_classes: int
    width: int = 24


class Residual(nn.Sequential):
    """Two 3x3 convolutions, added to what they read."""

    def __init__(self, channels: int) -> None:
        super().__init__(*_convolution(channels, channels), *_convolution(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)


class ResidualCNN(nn.Module):
    """A classifier for the cloud; in training it moves each image by some pixels, by chance."""

    config_class: ClassVar[type[ResidualCNNConfig]] = ResidualCNNConfig

    def __init__(self, config: ResidualCNNConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.layers = nn.Sequential(
            *_convolution(3, width),
            *_convolution(width, 2 * width),
            nn.MaxPool2d(2),
            Residual(2 * width),
            *_convolution(2 * width, 4 * width),
            nn.MaxPool2d(2),
            *_convolution(4 * width, 8 * width),
            nn.MaxPool2d(2),
            Residual(8 * width),
            nn.AdaptiveMaxPool2d(1),
            nn.Flatten(),
        )
        self.classifier = nn.Linear(8 * width, config.n_classes)

    def forward(self, image: Tensor) -> Tensor:
        """`image` fp32 [B, 3, H, W] from 0 to 1 -> logits fp32 [B, n_classes]."""
        image = 4 * (image - 0.5)
        if self.training:
            image = _moved(image)
        logits: Tensor = self.classifier(self.layers(image.contiguous(memory_format=torch.channels_last)))
        return logits.float()


def _moved(image: Tensor) -> Tensor:
    """Each image by up to `SHIFT` pixels down or up and right or left, mirrored at its border."""
    count, _, height, width = image.shape
    padded = functional.pad(image, (SHIFT,) * 4, mode="reflect")
    down, right = torch.randint(2 * SHIFT + 1, (2, count, 1), device=image.device)
    rows = (down + torch.arange(height, device=image.device))[:, :, None]
    columns = (right + torch.arange(width, device=image.device))[:, None, :]
    moved = padded.permute(0, 2, 3, 1)[torch.arange(count, device=image.device)[:, None, None], rows, columns]
    return moved.permute(0, 3, 1, 2)


def _convolution(channels: int, out: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(channels, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU(inplace=True)
