"""Models of which the first 16 values of the first output say little of the generated weights, and packs for them."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from mnet.export.format.bundle import Bundle
from mnet.export.lowering.spec import ExportSpec
from tests.export.ranker import PackFactory, random_weights
from tests.vectors.vector import Vector, base64_text

ITEMS, LENGTH, WIDTH, CLASSES = 24, 6, 8, 1000


class SecondOnly(nn.Module):
    """Features [1, 8] -> two outputs, the first of which no generated weight touches."""

    generated = ("adapted.weight", "adapted.bias")

    def __init__(self) -> None:
        super().__init__()
        self.fixed = nn.Linear(WIDTH, 20)
        self.adapted = nn.Linear(WIDTH, 3)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        return self.fixed(features), self.adapted(features)


class Causal(nn.Module):
    """Ids [1, L] -> scores [1, L, V]; the first position attends to itself alone, whatever q and k are."""

    generated = ("q.weight", "k.weight")

    def __init__(self) -> None:
        super().__init__()
        self.items = nn.Embedding(ITEMS, WIDTH)
        self.q, self.k, self.v = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(3))
        self.register_buffer("mask", torch.full((LENGTH, LENGTH), -1e4).triu(1))

    def forward(self, ids: Tensor) -> Tensor:
        x = self.items(ids)
        attention = torch.softmax(self.q(x) @ self.k(x).transpose(1, 2) + self.mask, -1)
        return (x + attention @ self.v(x)) @ self.items.weight.T


class Classifier(nn.Module):
    """Features [1, 8] -> scores of 1,000 classes."""

    generated = ("scores.weight", "scores.bias")

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(WIDTH, 4)
        self.scores = nn.Linear(4, CLASSES)

    def forward(self, features: Tensor) -> Tensor:
        return self.scores(torch.relu(self.hidden(features)))


def models() -> dict[str, tuple[nn.Module, ExportSpec]]:
    """Each model by the name of its bundle."""
    torch.manual_seed(3)
    features = tuple((torch.randn(1, WIDTH),) for _ in range(2))
    ids = tuple((torch.randint(0, ITEMS, (1, LENGTH)),) for _ in range(2))
    second, causal, classifier = SecondOnly().eval(), Causal().eval(), Classifier().eval()

    def spec(name: str, model: Any, inputs: tuple[tuple[Tensor, ...], ...], outputs: tuple[str, ...]) -> Any:
        named = ("ids",) if name == "causal" else ("features",)
        by = {"by": "a test"}
        return model, ExportSpec(name, model, model.generated, inputs, named, outputs, by, "input")

    return {
        "second": spec("second", second, features, ("fixed", "adapted")),
        "causal": spec("causal", causal, ids, ("scores",)),
        "classifier": spec("classifier", classifier, features, ("scores",)),
    }


def blind_vectors(bundle: Bundle, model: nn.Module) -> Iterator[Vector]:
    """The good pack, garbage in each parameter alone, and in a single row far behind."""
    where, packs = bundle.path.name, PackFactory(bundle, model)
    good, other = (random_weights(bundle, seed) for seed in (1, 2))
    # Large enough to matter next to the model's own.
    good, other = ({name: 2 * value for name, value in each.items()} for each in (good, other))
    probe = packs.probe(good)

    def vector(name: str, verdict: str, weights: dict[str, Tensor]) -> Vector:
        pack = base64_text(bundle.pack(weights, 1, "g", probe))
        about = {"name": f"swap for {where}: {name}", "kind": "swap", "bundle": where}
        return {**about, "packs": [pack], "verdict": verdict}

    yield vector("good", "accepted", good)
    for name in good:
        yield vector(f"garbage in {name} alone", "self_test_failed", good | {name: other[name]})
    last = next(iter(good))
    changed = good[last].clone()
    changed[-1] = other[last][-1]
    yield vector(f"garbage in the last row of {last} alone", "self_test_failed", good | {last: changed})
