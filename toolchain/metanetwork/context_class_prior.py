"""What a cloud knows of a device's photos in one number a class: how frequent it finds each."""

import torch
from torch import Tensor, nn

from mnet.toolchain.metanetwork.context_images import ImageReader
from mnet.toolchain.metanetwork.generator import MetaGenerator


class ClassPriorContext(ImageReader):
    """The class prior that a classifier which no phone runs finds in the images, to be a change of another's biases.

    The vector is the logarithm of the prior, less that of classes that are all as frequent, and its negative. From
    these two GELU loses nothing, as GELU(x) - GELU(-x) = x, so that a generator of the form `residual` can begin as the
    closed form (`begin`): what it generates is the prior times `scale`, and training may improve on it.

    Args:
        classes: how many.
        temperature: divides the classifier's logits.
        smoothing: how many images' worth of classes that are all as frequent is mixed into the prior.
        scale: what the prior's logarithm counts in the device model's logits: their own temperature.
    """

    def __init__(
        self, classes: int, temperature: float = 1.0, smoothing: float = 3.0, scale: float = 1.0
    ) -> None:
        super().__init__()
        self.classes, self.width = classes, 2 * classes
        self.temperature, self.smoothing, self.scale = temperature, smoothing, scale

    def at_every_item(self, context: Tensor, last: int | None = None) -> Tensor:
        """`context` uint8 [B, n, 3, H, W] -> as `ContextEncoder.at_every_item`, from the images up to each."""
        present = self.present(context)
        kept = slice(None if last is None else -last, None)
        prior = self.log_prior(context, present, kept, self.temperature, self.smoothing)
        known = (present.cumsum(1) > 0)[:, kept, None]
        return torch.cat([prior, -prior], dim=2) * known

    def scores(self, vector: Tensor) -> Tensor:
        """fp32 [..., width] -> logits of a sample's class [..., classes]."""
        return vector[..., : self.classes]

    @torch.no_grad()
    def begin(self, generator: MetaGenerator) -> None:
        """Let a generator begin as the closed form. Raises ValueError unless it generates one number a class."""
        projections = list(generator.projections.values())
        hidden, (first, *others) = generator.hidden[0], projections
        if others or generator.form != "residual" or generator.outputs != self.classes:
            raise ValueError(
                "the context encoder class-prior changes the classifier's biases alone: generate these "
                f"{self.classes} numbers, in the form residual, as in generated: [classifier.bias]"
            )
        assert isinstance(hidden, nn.Linear)
        assert isinstance(first, nn.Linear)
        one = torch.eye(self.classes)
        hidden.weight.copy_(torch.eye(self.width))
        first.weight.copy_(self.scale * torch.cat([one, -one], dim=1))
        for layer in (hidden, first):
            layer.bias.zero_()
