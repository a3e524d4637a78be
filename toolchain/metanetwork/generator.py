"""MetaGenerator: one context vector -> the parameters of each generated layer."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mnet.toolchain.settings import Form


class MetaGenerator(nn.Module):
    """A hidden layer, and from it the values of each generated parameter, in one of three forms.

    `residual`: one linear projection a parameter, started near zero (std 0.01 / sqrt(width)), so that the first
    generated model is all but the static one.

    `full`: the weights themselves from nothing, the published baseline (Lv et al. 2022). A projection starts so that
    what it generates has mean and spread of the device model's own first values: the variance of a generated weight
    is width * Var(projection) * E[hidden^2] (Chang et al., ICLR 2020, "Principled weight initialization for
    hypernetworks").

    `low-rank`: the residual of a matrix [out, in], or of a conv seen as [out, in * kh * kw], is A [out, r] times
    B [r, in], for layers whose full projection would be too large. What is no larger in full, such as a bias,
    has a full residual.

    Args:
        parameters: the device model's own value of each generated parameter, by name.
        width: of the context vector.
        form: see above.
        rank: r, of the form `low-rank` and only of it.

    Raises:
        ValueError: an unknown form, or a rank that does not go with it.
    """

    def __init__(
        self, parameters: Mapping[str, Tensor], width: int, form: Form = "residual", rank: int | None = None
    ) -> None:
        super().__init__()
        if form not in ("residual", "full", "low-rank"):
            raise ValueError(f"unknown form {form!r}: residual, full or low-rank")
        if (form == "low-rank") != (rank is not None) or (rank is not None and rank < 1):
            raise ValueError(
                f"form {form} with rank {rank}: low-rank takes a rank of at least 1, the others none"
            )
        self.form, self.rank = form, rank
        self.hidden = nn.Sequential(nn.Linear(width, width), nn.GELU())
        self.projections = nn.ModuleDict(
            {_key(name): self._projection(width, value.detach(), rank) for name, value in parameters.items()}
        )
        self.shapes = {name: value.shape for name, value in parameters.items()}

    @property
    def outputs(self) -> int:
        """How many numbers it puts out for one context."""
        return sum(layer.out_features for layer in self.projections.modules() if isinstance(layer, nn.Linear))

    def forward(self, vector: Tensor) -> dict[str, Tensor]:
        """`vector` fp32 [M, width] -> weights (form `full`) or residuals of each parameter, fp32 [M, *shape]."""
        hidden = self.hidden(vector)
        return {
            name: self.projections[_key(name)](hidden).reshape(len(vector), *shape)
            for name, shape in self.shapes.items()
        }

    def _projection(self, width: int, value: Tensor, rank: int | None) -> nn.Module:
        if self.form == "full":
            return self._at_usual_scale(width, value)
        if rank is not None and value.dim() > 1:
            rows, columns = len(value), value[0].numel()
            if rank * (rows + columns) < rows * columns:
                return _LowRank(width, rows, columns, rank)
        return _near_zero(width, value.numel())

    @torch.no_grad()
    def _at_usual_scale(self, width: int, value: Tensor) -> nn.Linear:
        # The context vector is the output of a LayerNorm: standard normal numbers stand for it.
        second_moment = self.hidden(torch.randn(1024, width)).square().mean()
        spread = value.std(correction=0)
        return _projection(
            width, value.numel(), float(spread * (width * second_moment) ** -0.5), float(value.mean())
        )


class _LowRank(nn.Module):
    """A [rows, r] B [r, columns]; A starts near zero, and B around a fixed matrix that lets A learn."""

    def __init__(self, width: int, rows: int, columns: int, rank: int) -> None:
        super().__init__()
        self.rank = rank
        self.left = _near_zero(width, rows * rank)
        self.right = _near_zero(width, rank * columns)
        nn.init.normal_(self.right.bias, std=rank**-0.5)

    def forward(self, hidden: Tensor) -> Tensor:
        """fp32 [M, width] -> [M, rows * columns]."""
        left = self.left(hidden).unflatten(1, (-1, self.rank))
        right = self.right(hidden).unflatten(1, (self.rank, -1))
        return (left @ right).flatten(1)


def _key(name: str) -> str:
    """A module's name cannot hold a dot; parameter names do."""
    return name.replace(".", "/")


def _near_zero(width: int, size: int) -> nn.Linear:
    return _projection(width, size, 0.01 * width**-0.5, 0.0)


def _projection(width: int, size: int, std: float, mean: float) -> nn.Linear:
    projection = nn.Linear(width, size)
    nn.init.normal_(projection.weight, std=std)
    nn.init.constant_(projection.bias, mean)
    return projection
