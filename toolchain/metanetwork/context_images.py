"""The context encoders that look at images themselves: the cloud's own eyes, larger than any phone's."""

from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from mnet.toolchain.metanetwork.context import ContextEncoder
from mnet.toolchain.metanetwork.label_prior import label_prior

# Each image is also read at this size, as it is: what the mean photo of a device looks like tells how it is held.
SMALL = 6
# So many samples' worth of classes that are all as frequent are mixed into a prior.
SMOOTHING = 1.0


class ImageReader(ContextEncoder):
    """What reads images uint8 [B, n, 3, H, W], not all of it black; a black one is padding.

    Attributes:
        classifier: that no phone runs, from images fp32 [N, 3, H, W], 0 to 1, to logits [N, classes], or None; it stays
            as it is.
    """

    def __init__(self) -> None:
        super().__init__()
        self.classifier: nn.Module | None = None

    @staticmethod
    def present(context: Tensor) -> Tensor:
        """fp32 [B, n]: 1 for an image, 0 for padding."""
        return (context != 0).flatten(2).any(dim=2).float()

    def look_through(self, classifier: nn.Module) -> None:
        """Read every image through `classifier` too."""
        self.classifier = classifier.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if self.classifier is not None:
            self.classifier.eval()
        return self

    @torch.no_grad()
    def log_prior(
        self,
        context: Tensor,
        present: Tensor,
        kept: slice,
        temperature: float = 1.0,
        smoothing: float = SMOOTHING,
    ) -> Tensor:
        """The class prior that the classifier finds in the images up to each, by EM, fp32 [B, kept, classes].

        As logarithms, less that of classes that are all as frequent. `present` fp32 [B, n] is 0 where an image is
        padding; `kept` are the last images up to which it is wanted.
        """
        assert self.classifier is not None
        logits = self.classifier(context.flatten(0, 1).float() / 255).unflatten(0, context.shape[:2])
        share = torch.full_like(logits[0, 0], 1 / logits.shape[2])
        up_to = torch.ones_like(present[0]).diag().cumsum(0)[kept]  # [kept, n]: row t has ones up to image t
        counted = present[:, None] * up_to
        probability = (logits / temperature).softmax(dim=2)[:, None].expand(-1, len(up_to), -1, -1)
        return (label_prior(probability, share, smoothing, counted) / share).log()


class ImageContext(ImageReader):
    """Mean and spread over the images of what a CNN makes of each, then an MLP (Deep Sets, Zaheer et al. 2017).

    The CNN's features are joined by the image itself, very small, and the products of its mean colours, from which the
    covariance of a sensor's colours follows. Where it may look through a classifier that no phone runs, the vector ends
    with the logarithm of the class prior that EM makes of that one's soft predictions. The vector is the same for any
    order of the images.

    Args:
        width: of the vector.
        classes: of `scores`.
        channels: behind the CNN's first convolution; it doubles them twice.
    """

    def __init__(self, classes: int, width: int = 64, channels: int = 16) -> None:
        super().__init__()
        self.width = self.pooled = width
        self.cnn = nn.Sequential(
            *_block(3, channels, stride=1),
            *_block(channels, 2 * channels, stride=2),
            *_block(2 * channels, 4 * channels, stride=2),
        )
        pooled = 2 * (4 * channels + 3 * SMALL**2 + 9)
        self.all = nn.Sequential(
            nn.LayerNorm(pooled),
            nn.Linear(pooled, 2 * width),
            nn.GELU(),
            nn.Linear(2 * width, width),
            nn.LayerNorm(width),
        )
        self.classes = nn.Linear(width, classes)

    def look_through(self, classifier: nn.Module) -> None:
        """Read every image through `classifier` too; the vector becomes wider by one number a class."""
        super().look_through(classifier)
        self.width = self.pooled + self.classes.out_features
        self.classes = nn.Linear(self.width, self.classes.out_features)

    def at_every_item(self, context: Tensor, last: int | None = None) -> Tensor:
        """`context` uint8 [B, n, 3, H, W] -> as `ContextEncoder.at_every_item`, from the images up to each."""
        present = self.present(context)[..., None]
        x = self._each(context.flatten(0, 1).float() / 255 - 0.5).unflatten(0, context.shape[:2]) * present
        count = present.cumsum(1).clamp(min=1)
        mean = x.cumsum(1) / count
        variance = x.square().cumsum(1) / count - mean.square()
        pooled = torch.cat([mean, (variance.clamp(min=0) + 1e-6).sqrt()], dim=2)
        kept = slice(None if last is None else -last, None)
        vector = self.all(pooled[:, kept])
        if self.classifier is not None:
            vector = torch.cat([vector, self.log_prior(context, present[..., 0], kept)], dim=2)
        return vector * (present.cumsum(1) > 0)[:, kept]

    def scores(self, vector: Tensor) -> Tensor:
        """fp32 [..., width] -> logits of a sample's class [..., classes]."""
        return self.classes(vector)

    def _each(self, image: Tensor) -> Tensor:
        """fp32 [N, 3, H, W] -> [N, features]."""
        seen = self.cnn(image.contiguous(memory_format=torch.channels_last)).mean(dim=(2, 3))
        small = functional.adaptive_avg_pool2d(image, SMALL).flatten(1)
        colour = image.flatten(2)
        products = (colour @ colour.transpose(1, 2) / colour.shape[2]).flatten(1)
        return torch.cat([seen, small, products], dim=1)


def _block(channels: int, out: int, stride: int) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(channels, out, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(out),
        nn.ReLU(inplace=True),
    )
