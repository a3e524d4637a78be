"""MetaStabilizer: what keeps generated parameters from oscillating, in training and from one release to the next."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class MetaStabilizer(nn.Module):
    """Three of the stabilizer's parts; the fourth, averaged weights for inference, belongs to training.

    - Residuals on the shared weights, bounded: shared + bound * tanh(residual / bound). Small residuals pass
      unchanged, and no context, however odd, moves a weight by more than `bound`.
    - Windows: the vector of a context is the mean over several cuts of it, so that one new sample moves it less.
    - `smooth`: a release keeps a share of the one before.

    Args:
        bound: how far a parameter may move; None for any distance.
        windows: w, how many cuts are averaged: the context less its newest 0 to w - 1 samples.

    Raises:
        ValueError: `bound` is not positive, or `windows` less than 1.
    """

    def __init__(self, bound: float | None = 1.0, windows: int = 1) -> None:
        super().__init__()
        if bound is not None and bound <= 0:
            raise ValueError(f"bound must be positive, got {bound}")
        if windows < 1:
            raise ValueError(f"windows must be at least 1, got {windows}")
        self.bound = bound
        self.windows = windows

    def forward(self, shared: Mapping[str, Tensor], residual: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """`shared` [*shape] and `residual` [M, *shape] of each parameter -> [M, *shape]."""
        return {name: shared[name] + self._bounded(value) for name, value in residual.items()}

    def over_windows(self, vectors: Tensor) -> Tensor:
        """Vectors of successive cuts fp32 [B, T, width] -> the mean of each with up to w - 1 before it, same shape.

        A zero vector is an empty context: it counts in no mean, and stays zero.
        """
        if self.windows == 1:
            return vectors
        present = (vectors != 0).any(dim=2, keepdim=True).to(vectors.dtype)
        total, count = (_moving_sum(x, self.windows) for x in (vectors, present))
        return total / count.clamp(min=1) * present

    def _bounded(self, residual: Tensor) -> Tensor:
        if self.bound is None:
            return residual
        # Most bounds are 1, and a division of so many numbers by 1 takes as long as any other.
        return torch.tanh(residual) if self.bound == 1 else self.bound * torch.tanh(residual / self.bound)


def smooth(
    previous: Mapping[str, Tensor], generated: Mapping[str, Tensor], share: float
) -> dict[str, Tensor]:
    """The next release of a device: `share` (0 to 1) of the `previous` one, the rest newly `generated`."""
    return {name: torch.lerp(value, previous[name], share) for name, value in generated.items()}


def _moving_sum(x: Tensor, window: int) -> Tensor:
    """Sum of each entry of [B, T, d] along T with up to `window` - 1 before it."""
    padded = nn.functional.pad(x, (0, 0, window - 1, 0))
    return padded.unfold(1, window, 1).sum(dim=-1)
