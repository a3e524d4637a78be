"""A CNN for a microcontroller, all of its convolutions generated: for sensors that one set of weights cannot serve.

As `mnet.device_models.cnn`, a MobileNet of depthwise-separable convolutions (Howard et al. 2017, arXiv:1704.04861).
Each ReLU comes before its normalisation, so that no exporter would fold that into a generated convolution: to keep the
two apart costs a target another multiplication.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

MODELS = {"classification": {"micro": "MicroCNN"}}

STRIDES = (2, 1, 2, 1)


@dataclass(frozen=True)
class MicroCNNConfig:
    """Sizes of a MicroCNN; the defaults make 4,266 parameters with 10 classes, 4,026 of them generated.

    Attributes:
        n_classes: given by the data set.
        width: channels behind the first convolution; they then double twice.
    """

    n_classes: int
    width: int = 8


class Separable(nn.Module):
    """A 3x3 convolution of each channel, a 1x1 across channels, ReLU, BatchNorm."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, stride, padding=1, groups=channels, bias=False)
        self.pointwise = nn.Conv2d(channels, out, 1, bias=False)
        self.activation = nn.ReLU()
        self.norm = nn.BatchNorm2d(out)

    def forward(self, x: Tensor) -> Tensor:
        """fp32 [B, channels, H, W] -> [B, out, H / stride, W / stride]."""
        return self.norm(self.activation(self.pointwise(self.depthwise(x))))


class MicroCNN(nn.Module):
    """The device model; what a cloud reads to generate its weights are the images themselves."""

    config_class: ClassVar[type[MicroCNNConfig]] = MicroCNNConfig
    generated: ClassVar[tuple[str, ...]] = (
        "first.weight",
        *(
            f"blocks.{block}.{layer}.weight"
            for block in range(len(STRIDES))
            for layer in ("depthwise", "pointwise")
        ),
        "classifier.weight",
        "classifier.bias",
    )

    def __init__(self, config: MicroCNNConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        channels = (width, 2 * width, 4 * width, 4 * width, 4 * width)
        self.first = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.activation = nn.ReLU()
        self.norm = nn.BatchNorm2d(width)
        self.blocks = nn.Sequential(
            *(Separable(channels[i], channels[i + 1], stride) for i, stride in enumerate(STRIDES))
        )
        self.classifier = nn.Linear(channels[-1], config.n_classes)

    def forward(self, image: Tensor) -> Tensor:
        """`image` fp32 [B, 3, H, W] from 0 to 1 -> logits fp32 [B, n_classes]."""
        x = self.blocks(self.norm(self.activation(self.first(image - 0.5))))
        return self.classifier(x.mean(dim=(2, 3)))
