"""MetaStabilizer: what keeps generated parameters from oscillating."""

import torch
from torch import Tensor, nn


class MetaStabilizer(nn.Module):
    """Anchor what is generated to the shared weights: shared + bound * tanh(residual / bound).

    Small residuals pass unchanged, and no context, however odd, moves a weight by more than `bound`. The
    other half of the stabilizer is averaged weights for inference; averaging belongs to training.
    """

    def __init__(self, bound: float = 1.0) -> None:
        super().__init__()
        if bound <= 0:
            raise ValueError(f"bound must be positive, got {bound}")
        self.bound = bound

    def forward(self, shared: dict[str, Tensor], residual: dict[str, Tensor]) -> dict[str, Tensor]:
        """`shared` [*shape] and `residual` [B, *shape] of each parameter -> [B, *shape]."""
        return {
            name: shared[name] + self.bound * torch.tanh(residual[name] / self.bound) for name in residual
        }
