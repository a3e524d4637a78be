"""Golden weights: every generated parameter can be seen under them, also where layers multiply each other."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from mnet.device_models.micro_cnn import MicroCNN, MicroCNNConfig
from mnet.export.eager_run import run_eager
from mnet.export.format.golden import HALF_TOLERANCE, LEAST_CHANGE
from mnet.export.format.probe import distance
from mnet.export.lowering.spec import ExportSpec


def test_a_bias_is_seen_behind_ten_layers_that_are_too_faint_in_fp16() -> None:
    """All ten grew by what each of them lacked, until nothing but their product was left of the outputs."""
    torch.manual_seed(0)
    model = MicroCNN(MicroCNNConfig(n_classes=10)).eval()
    spec = ExportSpec(
        "micro", model, model.generated, ((torch.rand(1, 3, 16, 16),),), ("image",), ("logits",)
    )
    default = {name: model.get_parameter(name).detach() for name in model.generated}
    run = run_eager(spec, default, dict.fromkeys(default, "float16"), HALF_TOLERANCE)
    whole = run.swaps["golden"].tolist()
    changes = [distance(values, whole) for values in run.swaps["alone"].tolist()]
    assert min(changes) >= LEAST_CHANGE * HALF_TOLERANCE
    assert max(run.scales) < 10, "and no output is beyond what fp16 holds"


class _Bounded(nn.Module):
    """Sums of a large and a small term behind a function that saturates, or that forgets the size of its input."""

    def __init__(self, bound: Callable[[Tensor], Tensor], outputs: int = 1) -> None:
        super().__init__()
        self.embedding = nn.Embedding(40, 8)
        self.wide = nn.Embedding(40, outputs)
        self.deep = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, outputs))
        self.gain = nn.Parameter(torch.tensor(1.0))
        self.bound = bound

    def forward(self, ids: Tensor) -> Tensor:
        total = self.deep(self.embedding(ids).mean(1)) + self.wide(ids).sum(1)
        return self.bound(self.gain * total)


class _Attention(nn.Module):
    """A softmax over positions, which a large query or key saturates."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False)
        self.embedding = nn.Embedding(40, 8)

    def forward(self, ids: Tensor) -> Tensor:
        x = functional.layer_norm(self.embedding(ids), (8,))
        return (self.query(x) @ self.key(x).mT).softmax(-1) @ x


class _Radial(nn.Module):
    """Radial basis functions, which are all zero as soon as their centres are far away."""

    def __init__(self) -> None:
        super().__init__()
        self.centres = nn.Parameter(0.1 * torch.randn(5, 8))
        self.embedding, self.scores = nn.Embedding(40, 8), nn.Linear(5, 6)

    def forward(self, ids: Tensor) -> Tensor:
        far = (self.embedding(ids).mean(1)[:, None] - self.centres).square().sum(-1)
        return self.scores(torch.exp(-far))


def _normalized(x: Tensor) -> Tensor:
    return functional.layer_norm(x, x.shape[-1:])


_SATURATING = {
    "sigmoid": lambda: _Bounded(torch.sigmoid),
    "tanh": lambda: _Bounded(torch.tanh),
    "softplus": lambda: _Bounded(functional.softplus),
    "exp": lambda: _Bounded(torch.exp),
    "softmax": lambda: _Bounded(lambda x: x.softmax(-1), 4),
    "hardsigmoid": lambda: _Bounded(functional.hardsigmoid),
    "LayerNorm": lambda: _Bounded(_normalized, 4),
    "attention": _Attention,
    "radial": _Radial,
}


@pytest.mark.parametrize("kind", _SATURATING)
@pytest.mark.parametrize("seed", range(3))
def test_growing_weights_hide_no_parameter_behind_what_saturates(kind: str, seed: int) -> None:
    torch.manual_seed(seed)
    model = _SATURATING[kind]().eval()
    names = tuple(name for name, _ in model.named_parameters() if name != "embedding.weight")
    spec = ExportSpec(
        "model", model, names, tuple((torch.randint(40, (1, 7)),) for _ in range(2)), ("ids",), ("y",)
    )
    default = {name: model.get_parameter(name).detach().clone() for name in names}
    run = run_eager(spec, default, dict.fromkeys(names, "float16"), HALF_TOLERANCE)
    whole = run.swaps["golden"].tolist()
    assert (
        min(distance(values, whole) for values in run.swaps["alone"].tolist())
        >= LEAST_CHANGE * HALF_TOLERANCE
    )
