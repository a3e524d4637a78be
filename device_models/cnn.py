"""A compact CNN of depthwise-separable convolutions, after MobileNet (Howard et al. 2017, arXiv:1704.04861).

Nothing stands between the two halves of such a convolution, as in Xception (Chollet 2017, arXiv:1610.02357): on a CPU,
training spends more time on normalisation and ReLU than on convolutions.

The last 1x1 convolution is written as a Linear over the channels of each position, the same arithmetic: XNNPACK
takes a Linear whose weight is an input of the graph, and refuses such a convolution. Batch normalisation stays in the
base.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

MODELS = {"classification": {"cnn": "CNN"}}


@dataclass(frozen=True)
class CNNConfig:
    """Sizes of a CNN; the defaults make 67,210 parameters with 10 classes, 17,802 of them generated.

    Attributes:
        n_classes: given by the data set.
        width: channels behind the first convolution; they then double twice.
        features: channels behind the generated pointwise layer.
        dropout: of the features.
    """

    n_classes: int
    width: int = 32
    features: int = 128
    dropout: float = 0.0


class DepthwiseSeparable(nn.Sequential):
    """A 3x3 convolution of each channel, a 1x1 across channels, BatchNorm, ReLU."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__(_depthwise(channels, stride), *_normalised(nn.Conv2d(channels, out, 1, bias=False)))


class CNN(nn.Module):
    """The device model: `encode` is the base, `head` holds the layers that the cloud generates."""

    config_class: ClassVar[type[CNNConfig]] = CNNConfig
    generated: ClassVar[tuple[str, ...]] = (
        "pointwise.weight",
        "pointwise.bias",
        "classifier.weight",
        "classifier.bias",
    )

    def __init__(self, config: CNNConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.base = nn.Sequential(
            *_normalised(nn.Conv2d(3, width, 3, stride=2, padding=1, bias=False)),
            DepthwiseSeparable(width, 2 * width, stride=1),
            DepthwiseSeparable(2 * width, 4 * width, stride=2),
            DepthwiseSeparable(4 * width, 4 * width, stride=1),
            DepthwiseSeparable(4 * width, 4 * width, stride=2),
            *_normalised(_depthwise(4 * width, stride=1)),
        )
        self.pointwise = nn.Linear(4 * width, config.features)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(config.features, config.n_classes)
        self.apply(_initialize)

    @property
    def embedding_width(self) -> int:
        """Size of what `embed` returns."""
        return self.pointwise.in_features

    def encode(self, image: Tensor) -> Tensor:
        """`image` fp32 [B, 3, H, W] from 0 to 1 -> fp32 [B, (H / 8) (W / 8), 4 width], one row a position."""
        # Contiguous, or ExecuTorch refuses it where a program is cut in two here.
        return self.base(image).flatten(2).transpose(1, 2).contiguous()

    def embed(self, image: Tensor) -> Tensor:
        """`image` as above -> fp32 [B, embedding_width]: a summary that no generated parameter has touched."""
        return self.encode(image).mean(dim=1)

    def head(self, hidden: Tensor) -> Tensor:
        """What `encode` returns -> logits fp32 [B, n_classes]."""
        features = torch.relu(self.pointwise(hidden)).mean(dim=1)
        return self.classifier(self.dropout(features))

    def forward(self, image: Tensor) -> Tensor:
        """`image` as above -> logits fp32 [B, n_classes]."""
        return self.head(self.encode(image))


def _depthwise(channels: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, 3, stride, padding=1, groups=channels, bias=False)


def _normalised(convolution: nn.Conv2d) -> tuple[nn.Module, nn.Module, nn.Module]:
    return convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU(inplace=True)


def _initialize(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.kaiming_normal_(module.weight, mode="fan_out" if isinstance(module, nn.Conv2d) else "fan_in")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
