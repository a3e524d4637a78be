"""`policy.safetensors`: what a phone decides by whether its user has shifted since its weights were made.

The statistic of a context is a moving average of what its samples project to,

    s = sum_i w_i p(x_i) / sum_i w_i,   w_i = 2^(-age_i / half_life),   age 0 for the newest sample,

where p(x) is row x of `projection` if samples are ids, and x @ projection if they are vectors. A phone keeps the
statistic of the context that its weights were made from, and asks when the squared distance to the present one
is above `threshold`. All of it is computed in fp64, so that every kind of phone decides alike.

The file is safetensors with the tensor `projection`, fp32, and as metadata one key `mnet`, canonical JSON as in a
pack: `schema` mnet.policy/1, `samples` ids | vectors, `half_life`, `threshold`.
"""

from dataclasses import dataclass
from typing import Literal

import safetensors.torch
import torch
from pydantic import BaseModel, ConfigDict, Field
from safetensors import SafetensorError
from torch import Tensor

from mnet.export.format.errors import BundleError
from mnet.export.format.manifest import canonical_json
from mnet.export.format.packs import mnet_metadata

SCHEMA = "mnet.policy/1"
Samples = Literal["ids", "vectors"]


class _Facts(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    schema_: Literal["mnet.policy/1"] = Field(alias="schema")
    samples: Samples
    half_life: float = Field(gt=0, allow_inf_nan=False)
    threshold: float = Field(ge=0, allow_inf_nan=False)


@dataclass(frozen=True)
class Shift:
    """The request policy `shift` of one run.

    Attributes:
        samples: whether a sample is an id from 1 or a vector of f numbers.
        projection: fp32 [ids + 1, d], row 0 zero, or [f, d].
        half_life: in samples.
        threshold: of the squared distance of two statistics.
    """

    samples: Samples
    projection: Tensor
    half_life: float
    threshold: float

    def statistic(self, context: Tensor) -> Tensor:
        """Contexts of ids int64 [M, n] or of vectors fp32 [M, n, f], left-padded with 0 -> fp64 [M, d].

        Raises ValueError for samples that the projection has no row for.
        """
        rows = len(self.projection)
        if self.samples == "vectors":
            if context.dim() != 3 or context.shape[2] != rows:
                raise ValueError(f"a sample is a vector of {rows} numbers")
            return moving_average(context.double(), self.half_life) @ self.projection.double()
        if context.dim() != 2 or bool(((context < 0) | (context >= rows)).any()):
            raise ValueError(f"a sample is an id from 1 to {rows - 1}")
        return moving_average(self.projection[context].double(), self.half_life)

    def asks(self, then: Tensor, now: Tensor) -> bool:
        """Whether a user whose statistic fp64 [d] was `then` when the weights were made, and is `now`, has shifted."""
        return float((now - then).square().sum()) > self.threshold

    def to_bytes(self) -> bytes:
        """The file; equal policies give equal bytes."""
        facts = {
            "schema": SCHEMA,
            "samples": self.samples,
            "half_life": self.half_life,
            "threshold": self.threshold,
        }
        return safetensors.torch.save(
            {"projection": self.projection.contiguous()}, {"mnet": canonical_json(facts).decode()}
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> "Shift":
        """Read the file. Raises BundleError for anything else."""
        try:
            facts = _Facts.model_validate_json(mnet_metadata(data))
            projection = safetensors.torch.load(data)["projection"]
        except (SafetensorError, KeyError, ValueError) as error:
            raise BundleError(f"the request policy is damaged: {' '.join(str(error).split())}") from None
        if projection.dim() != 2 or projection.dtype != torch.float32 or not projection.isfinite().all():
            raise BundleError("the projection of the request policy is no matrix of finite fp32 numbers")
        return cls(facts.samples, projection, facts.half_life, facts.threshold)


def moving_average(samples: Tensor, half_life: float) -> Tensor:
    """[M, n, f], newest last, left-padded with zero vectors -> [M, f] of the same dtype; zero without a sample."""
    age = torch.arange(samples.shape[1] - 1, -1, -1, dtype=samples.dtype, device=samples.device)
    weights = torch.exp2(-age / half_life) * (samples != 0).any(dim=2)
    return torch.einsum("mn,mnf->mf", weights, samples) / weights.sum(dim=1, keepdim=True).clamp(min=1e-9)
