"""MetaGenerator: one context vector -> the parameters of each generated layer."""

from collections.abc import Mapping

from torch import Size, Tensor, nn


class MetaGenerator(nn.Module):
    """One linear projection for each generated parameter, from a shared hidden layer.

    The projections start near zero (std 0.01 / sqrt(width)): the first generated model is all but the static one.

    Args:
        shapes: shape of each generated parameter, by its name in the device model.
        width: of the context vector.
    """

    def __init__(self, shapes: Mapping[str, Size], width: int) -> None:
        super().__init__()
        self.shapes = dict(shapes)
        self.trunk = nn.Sequential(nn.Linear(width, width), nn.GELU())
        # A module's name cannot hold a dot; parameter names do.
        self.projections = nn.ModuleDict(
            {name.replace(".", "/"): nn.Linear(width, shape.numel()) for name, shape in self.shapes.items()}
        )
        for projection in self.projections.values():
            nn.init.normal_(projection.weight, std=0.01 * width**-0.5)
            nn.init.zeros_(projection.bias)

    def forward(self, vector: Tensor) -> dict[str, Tensor]:
        """`vector` fp32 [B, width] -> each parameter fp32 [B, *shape]."""
        features = self.trunk(vector)
        return {
            name: self.projections[name.replace(".", "/")](features).unflatten(1, shape)
            for name, shape in self.shapes.items()
        }
