"""MetaGenerator: one context vector -> the parameters of each generated layer."""

from collections.abc import Mapping

from torch import Size, Tensor, nn


class MetaGenerator(nn.Module):
    """A hidden layer, and from it one linear projection for each generated parameter.

    The projections start near zero (std 0.01 / sqrt(width)): the first generated model is all but the static
    one.

    Args:
        shapes: shape of each generated parameter, by its name in the device model.
        width: of the context vector.
    """

    def __init__(self, shapes: Mapping[str, Size], width: int) -> None:
        super().__init__()
        self.shapes = dict(shapes)
        self.hidden = nn.Sequential(nn.Linear(width, width), nn.GELU())
        self.projections = nn.ModuleDict(
            {_key(name): _near_zero(width, shape.numel()) for name, shape in self.shapes.items()}
        )

    def forward(self, vector: Tensor) -> dict[str, Tensor]:
        """`vector` fp32 [B, width] -> each parameter fp32 [B, *shape]."""
        hidden = self.hidden(vector)
        return {
            name: self.projections[_key(name)](hidden).unflatten(1, shape)
            for name, shape in self.shapes.items()
        }


def _key(name: str) -> str:
    """A module's name cannot hold a dot; parameter names do."""
    return name.replace(".", "/")


def _near_zero(width: int, size: int) -> nn.Linear:
    projection = nn.Linear(width, size)
    nn.init.normal_(projection.weight, std=0.01 * width**-0.5)
    nn.init.zeros_(projection.bias)
    return projection
