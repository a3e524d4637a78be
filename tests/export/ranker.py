"""A small ranking model whose generated layers start equal and with zero biases, and packs for its bundle."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mnet.export.exporter import export_bundle
from mnet.export.format.bundle import Bundle
from mnet.export.format.golden import Reference
from mnet.export.format.pack_dtypes import rounded
from mnet.export.lowering.spec import ExportSpec
from tests.once import made_once

GENERATED = ("head_in.weight", "head_in.bias", "head_out.weight", "head_out.bias")


class Ranker(nn.Module):
    """Mean of item vectors [B, L] -> two generated layers -> scores [B, C] of candidates."""

    def __init__(self, items: int = 50, width: int = 16) -> None:
        super().__init__()
        self.items = nn.Embedding(items, width)
        self.head_in = nn.Linear(width, width)
        self.head_out = nn.Linear(width, width)
        nn.init.eye_(self.head_in.weight)
        nn.init.eye_(self.head_out.weight)
        nn.init.zeros_(self.head_in.bias)
        nn.init.zeros_(self.head_out.bias)

    def forward(self, history: Tensor, candidates: Tensor) -> Tensor:
        hidden = self.head_out(torch.relu(self.head_in(self.items(history).mean(1))))
        return (self.items(candidates) @ hidden.unsqueeze(-1)).squeeze(-1)


def ranker_spec(
    model: nn.Module, generated: tuple[str, ...] = GENERATED, binding: str | None = None
) -> ExportSpec:
    """An export of a model that takes what Ranker takes, with three golden samples."""
    generator = torch.Generator().manual_seed(1)
    inputs = tuple(
        (
            torch.randint(0, 50, (1, 5), generator=generator),
            torch.randint(0, 50, (1, 20), generator=generator),
        )
        for _ in range(3)
    )
    names = ("history", "candidates"), ("scores",)
    return ExportSpec("ranker", model, generated, inputs, *names, {"by": "a test"}, binding)


def ranker_bundle(
    factory: pytest.TempPathFactory, model: nn.Module, target: str, binding: str | None = None
) -> Bundle:
    """The Ranker's bundle, exported once in a run of the tests for each target and binding; left as it is."""

    def make(folder: Path) -> None:
        export_bundle(ranker_spec(model, binding=binding), target, folder / "bundle")

    return Bundle.load(made_once(factory, f"ranker-{target}-{binding}", make) / "bundle")


def random_weights(bundle: Bundle, seed: int) -> dict[str, Tensor]:
    """Random generated parameters that fit the bundle."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(tensor.shape, generator=generator) * 0.3
        for name, tensor in bundle.default_weights.items()
    }


class PackFactory:
    """Packs for a bundle, with the probe that the cloud computes in eager PyTorch of the weights as they travel."""

    def __init__(self, bundle: Bundle, model: nn.Module) -> None:
        self._bundle, self._reference = bundle, Reference(model)

    def expected(self, weights: dict[str, Tensor], sample: int = 0) -> Tensor:
        """Eager PyTorch's first output under `weights`."""
        return self._outputs(weights, sample)[0]

    def probe(self, weights: dict[str, Tensor]) -> list[float]:
        """Eager PyTorch's probe under `weights`."""
        return self._bundle.probe(self._outputs(weights, 0))

    def pack(self, weights: dict[str, Tensor], version: int) -> bytes:
        return self._bundle.pack(weights, version, "0" * 64, self.probe(weights))

    def _outputs(self, weights: dict[str, Tensor], sample: int) -> tuple[Tensor, ...]:
        as_served = rounded(weights, self._bundle.manifest.pack_dtypes)
        return self._reference.outputs(as_served, self._bundle.golden.inputs[sample])
