"""`under` and `call` give what `functional_call` gives for each pack by itself: values and gradients, of any module."""

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from mnet.toolchain.metanetwork import call, call_alike, check_generated, for_all, under
from tests.export.kinds import KINDS, Kind

PACKS, ROWS = 3, 4

Use = Callable[..., Any]


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="There is a performance drop")
        yield


class Pattern(nn.Module):
    """`use(module, x)` with a weight [4, 4], a gain [4], a table [6, 4] and some layers to use."""

    def __init__(self, use: Use, **layers: nn.Module) -> None:
        super().__init__()
        self.use = use
        self.weight = nn.Parameter(torch.randn(4, 4))
        self.gain = nn.Parameter(torch.rand(4) + 0.5)
        self.scalar = nn.Parameter(torch.rand(()) + 0.5)
        self.table = nn.Parameter(torch.randn(6, 4))
        self.low = nn.Parameter(torch.randn(4, 2))
        self.rank = nn.Parameter(torch.randn(2, 4))
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.register_buffer("items", torch.randn(PACKS * ROWS, 4))

    def forward(self, x: Tensor) -> Any:
        return self.use(self, x)


def _written(x: Tensor, value: Tensor) -> Tensor:
    out = x.clone()
    out[:, 1:3] = value[:, 1:3]
    return out


def _masked(x: Tensor) -> Tensor:
    out = x.clone()
    out[x > 0] = 0.5
    return out


def _added(x: Tensor, value: Tensor) -> Tensor:
    out = x * 1
    out += value
    return out


def _zeros(m: Any, x: Tensor) -> Tensor:
    out = torch.zeros(len(x), 4)
    out[:, :2] = (x @ m.weight)[:, :2]
    return out


def _deciding(m: Any, x: Tensor) -> Tensor:
    y = x @ m.weight
    return y if float(y.sum()) > 0 else -2 * y


PATTERNS: dict[str, Use] = {
    "matmul": lambda m, x: x @ m.weight,
    "transposed": lambda m, x: x @ m.weight.T,
    "exponential": lambda m, x: x + m.gain.exp(),
    "row of a table": lambda m, x: x + m.table[0],
    "slice of a table": lambda m, x: x[:, None] + m.table[:3],
    "gain times table": lambda m, x: x[:, None] + m.gain * m.table,
    "weight times gain": lambda m, x: functional.linear(x, m.weight * m.gain),
    "expand": lambda m, x: torch.cat([m.gain.expand(len(x), 1, 4), x[:, None]], 1),
    "class token": lambda m, x: torch.cat([m.table[None, :1].expand(len(x), -1, -1), x[:, None]], 1).sum(1),
    "LoRA": lambda m, x: functional.linear(x, m.weight + 0.5 * m.low @ m.rank),
    "LoRA by factors": lambda m, x: functional.linear(x, m.weight) + 2 * (x @ m.rank.T) @ m.low.T,
    "time first": lambda m, x: functional.linear(x.expand(5, *x.shape).cumsum(0), m.weight, m.gain).sum(0),
    "time first norm": lambda m, x: functional.layer_norm(
        (x.expand(6, *x.shape) * torch.arange(6.0).view(6, 1, 1)), (4,), m.gain, m.table[1]
    ).transpose(0, 1),
    "folded time before batch": lambda m, x: (
        functional.linear(x.repeat(6, 1), m.weight).unflatten(0, (6, -1)).mean(0)
    ),
    "both ways": lambda m, x: (
        functional.linear(torch.cat([x, x.flip(1)], 0), m.weight).unflatten(0, (2, -1)).sum(0)
    ),
    "tower over items": lambda m, x: x @ functional.linear(m.items, m.weight, m.gain).T,
    "generated table of items": lambda m, x: x @ m.table.T,
    "rows by index": lambda m, x: functional.embedding((x[:, 0] > 0).long(), m.table) * x,
    "0-d": lambda m, x: x * m.scalar,
    "0-d from the left": lambda m, x: (1 - m.scalar) * x,
    "einsum": lambda m, x: torch.einsum("bi,ij,bj->b", x, m.weight, x),
    "stacked": lambda m, x: x @ torch.stack([m.weight, m.weight.T]).sum(0),
    "softmax of a weight": lambda m, x: x @ m.weight.square().softmax(1),
    "linear of a weight": lambda m, x: functional.linear(m.weight, x).T,
    "no batch in a row": lambda m, x: functional.linear(x.sum(0), m.weight, m.gain).expand_as(x) * x,
    "vector of one output": lambda m, x: functional.linear(x, m.gain),
    "batch in a shape": lambda m, x: (x.reshape(x.size(0), 2, -1) * m.gain.view(2, 2)).reshape(len(x), -1),
    "tuple": lambda m, x: (x @ m.weight, (x * m.gain).sum(1)),
    "dict": lambda m, x: {"a": x @ m.weight, "b": [x * m.gain, 3]},
    "slice written": lambda m, x: _written(x, x @ m.weight),
    "mask assigned": lambda m, x: _masked(x @ m.weight),
    "added in place": lambda m, x: _added(x, x @ m.weight),
    "checkpoint": lambda m, x: checkpoint(lambda y: torch.tanh(y @ m.weight), x, use_reentrant=False),
    "checkpoint reentrant": lambda m, x: checkpoint(
        lambda y: torch.tanh(y @ m.weight), x, use_reentrant=True
    ),
    "nested vmap": lambda m, x: torch.vmap(lambda row: functional.linear(row, m.weight))(x),
    "masked attention": lambda m, x: functional.scaled_dot_product_attention(  # type: ignore[call-arg]
        (x @ m.weight).view(-1, 1, 2, 2),
        *[x.view(-1, 1, 2, 2)] * 2,
        (x.view(-1, 1, 1, 4)[..., :2] > 0) | torch.tensor([True, False]),
    ).flatten(1),
    "attention under a bias": lambda m, x: functional.scaled_dot_product_attention(  # type: ignore[call-arg]
        *[x[..., None]] * 3, m.table[:4] * m.gain
    )[..., 0],
    "attention": lambda m, x: functional.scaled_dot_product_attention(
        x.view(1, 1, -1, 4), functional.linear(x, m.weight).view(1, 1, -1, 4), x.view(1, 1, -1, 4)
    )[0, 0],
}


def _vector(*inner: int) -> Tensor:
    return torch.randn(PACKS * ROWS, *inner)


class First(nn.Module):
    """The first of what a layer returns."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x)[0]
        return out


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.attention(x, x, x)[0]
        return out


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(torch.relu(self.layer(x)))
        return out


class Bilinear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Bilinear(4, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x, x.flip(1))
        return out


LAYERS: dict[str, Callable[[], tuple[nn.Module, Tensor]]] = {
    "linear": lambda: (nn.Linear(4, 3), _vector(4)),
    "linear of sequences": lambda: (
        nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)),
        _vector(5, 2, 4),
    ),
    "linear without bias": lambda: (nn.Linear(4, 3, bias=False), _vector(4)),
    "conv of 1x1": lambda: (nn.Conv2d(4, 5, 1), _vector(4, 6, 6)),
    "conv of 1x1 with channels last": lambda: (
        nn.Conv2d(4, 5, 1),
        _vector(4, 6, 6).contiguous(memory_format=torch.channels_last),
    ),
    "conv of 1x1 in groups": lambda: (nn.Conv2d(4, 6, 1, groups=2), _vector(4, 6, 6)),
    "conv of 1x1 with stride": lambda: (nn.Conv2d(4, 5, 1, stride=2, bias=False), _vector(4, 6, 6)),
    "conv of 3x3": lambda: (
        nn.Sequential(nn.Conv2d(4, 5, 3, padding=1), nn.ReLU(), nn.Conv2d(5, 2, (3, 1))),
        _vector(4, 6, 6),
    ),
    "conv dilated": lambda: (nn.Conv2d(4, 5, 3, padding="same", dilation=2, bias=False), _vector(4, 6, 6)),
    "conv depthwise": lambda: (nn.Conv2d(4, 8, 3, stride=2, groups=4), _vector(4, 6, 6)),
    "conv reflecting": lambda: (nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"), _vector(4, 6, 6)),
    "conv 1-d": lambda: (nn.Conv1d(4, 5, 3, dilation=2), _vector(4, 9)),
    "conv transposed": lambda: (nn.ConvTranspose2d(4, 3, 3, stride=2), _vector(4, 4, 4)),
    "layer norm": lambda: (nn.LayerNorm((5, 4)), _vector(5, 4)),
    "rms norm": lambda: (nn.RMSNorm(4), _vector(5, 4)),
    "group norm": lambda: (nn.GroupNorm(2, 4), _vector(4, 6, 6)),
    "instance norm": lambda: (nn.InstanceNorm2d(4, affine=True), _vector(4, 6, 6)),
    "batch norm": lambda: (nn.BatchNorm2d(4).eval(), _vector(4, 6, 6)),
    "batch norm of vectors": lambda: (nn.BatchNorm1d(4).eval(), _vector(4)),
    "prelu": lambda: (nn.Sequential(nn.PReLU(), nn.PReLU(4)), _vector(4, 5)),
    "embedding": lambda: (
        nn.Sequential(nn.Linear(4, 4), nn.Flatten(1), nn.LayerNorm(4)),
        _vector(4),
    ),
    "attention": lambda: (Attention(), _vector(5, 4)),
    "transformer layer": lambda: (
        nn.TransformerEncoderLayer(4, 2, 8, batch_first=True).eval(),
        _vector(5, 4),
    ),
    "gru": lambda: (First(nn.GRU(4, 3, batch_first=True)), _vector(5, 4)),
    "gru behind a layer": lambda: (
        nn.Sequential(nn.Linear(4, 4), First(nn.GRU(4, 3, 2, batch_first=True, bidirectional=True))),
        _vector(5, 4),
    ),
    "lstm behind a layer": lambda: (
        nn.Sequential(nn.Linear(4, 4), First(nn.LSTM(4, 3, batch_first=True))),
        _vector(5, 4),
    ),
    "lstm": lambda: (First(nn.LSTM(4, 3, batch_first=True)), _vector(5, 4)),
    "rnn": lambda: (First(nn.RNN(4, 3, batch_first=True)), _vector(5, 4)),
    "bilinear": lambda: (Bilinear(), _vector(4)),
    "weight norm": lambda: (nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)), _vector(4)),
    "used twice": lambda: (Twice(), _vector(4)),
}


def values_of(model: nn.Module, names: list[str]) -> dict[str, Tensor]:
    """Other values of these parameters in each pack."""
    return {
        name: (model.get_parameter(name) + 0.5 * torch.randn(PACKS, *model.get_parameter(name).shape))
        .detach()
        .requires_grad_()
        for name in names
    }


def tensors(result: Any) -> list[Tensor]:
    leaves = torch.utils._pytree.tree_leaves(result)
    return [leaf for leaf in leaves if isinstance(leaf, Tensor)]


def by_definition(model: nn.Module, parameters: dict[str, Tensor], x: Tensor) -> list[Tensor]:
    """Each pack by itself; a checkpoint inside would compute with the model's own weights in the backward pass."""
    outs = [
        tensors(functional_call(model, {name: value[m] for name, value in parameters.items()}, (rows,)))
        for m, rows in enumerate(x.unflatten(0, (PACKS, ROWS)))
    ]
    return [torch.cat(parts) for parts in zip(*outs, strict=True)]


def assert_same(model: nn.Module, x: Tensor, names: list[str], reference: nn.Module | None = None) -> None:
    parameters = values_of(model, names)
    x = x.detach().requires_grad_(x.is_floating_point())
    expected = by_definition(reference or model, parameters, x)
    others = [value for name, value in (reference or model).named_parameters() if name not in names]
    inputs = [x] if x.is_floating_point() else []
    wanted = [*inputs, *parameters.values(), *others]
    weights = [torch.randn_like(value) for value in expected]
    gradients = torch.autograd.grad(
        sum((w * v).sum() for w, v in zip(weights, expected, strict=True)), wanted, allow_unused=True
    )
    for one_by_one in (False, True):
        found = tensors(under(model, parameters, one_by_one)(x))
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
        own = [value for name, value in model.named_parameters() if name not in names]
        ours = torch.autograd.grad(
            sum((w * v).sum() for w, v in zip(weights, found, strict=True)),
            [*inputs, *parameters.values(), *own],
            allow_unused=True,
        )
        for name, mine, theirs in zip(
            ["x"] * len(inputs) + [*parameters, *("other" for _ in own)], ours, gradients, strict=True
        ):
            zero = torch.zeros(())
            torch.testing.assert_close(
                mine if mine is not None else zero.expand_as(theirs) if theirs is not None else zero,
                theirs if theirs is not None else zero.expand_as(mine) if mine is not None else zero,
                atol=1e-4,
                rtol=1e-3,
                msg=lambda text, name=name: f"gradient of {name}: {text}",
            )
    assert any(not torch.allclose(a, b) for a, b in zip(expected, tensors(model(x)), strict=True))


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_gives_what_each_pack_gives_alone(pattern: str) -> None:
    use = PATTERNS[pattern]
    model, reference = Pattern(use), None
    if pattern.startswith("checkpoint"):
        reference = Pattern(lambda m, x: torch.tanh(x @ m.weight))
        reference.load_state_dict(model.state_dict())
    x = _vector(4)
    with torch.no_grad():
        plain = tensors(model(x))
    used = [
        name
        for name, value in model.named_parameters()
        if any(not torch.allclose(a, b) for a, b in zip(plain, _moved(model, name, x), strict=True))
    ]
    assert used
    assert_same(model, x, used, reference)
    for name in used if len(used) > 1 else []:
        assert_same(model, x, [name], reference)


@torch.no_grad()
def _moved(model: nn.Module, name: str, x: Tensor) -> list[Tensor]:
    return tensors(functional_call(model, {name: model.get_parameter(name) + 0.3}, (x,)))


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_gives_what_each_pack_gives_alone(layer: str) -> None:
    model, x = LAYERS[layer]()
    names = [name for name, _ in model.named_parameters()]
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*for all packs at once.*")
        assert_same(model, x, names)
        # Each parameter alone too: the weight is one per pack, the bias everyone's, and the other way round.
        for name in names:
            assert_same(model, x, [name])


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_kind_that_is_exported_trains(kind: Kind) -> None:
    spec = kind.spec()
    shape = (PACKS * ROWS, *kind.shape[1:])
    x = torch.randint(0, 20, shape) if kind.ids else torch.randn(shape)
    check_generated(spec.model, spec.generated, (x,))
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*for all packs at once.*")
        assert_same(spec.model, x, list(spec.generated))


def test_what_decides_by_its_values_runs_once_for_each_pack_and_says_so() -> None:
    for use in (_deciding, lambda m, x: _zeros(m, x)):
        model = Pattern(use)
        with pytest.warns(UserWarning, match="Pattern.call does not run for all packs at once"):
            under(model, values_of(model, ["weight"]))(_vector(4))
        assert_same(model, _vector(4), ["weight"])


def test_batch_norm_in_training_takes_its_statistics_from_all_packs() -> None:
    model, reference = (nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)) for _ in range(2))
    reference.load_state_dict(model.state_dict())
    parameters, x = values_of(model, ["0.weight", "1.weight"]), _vector(4)
    found = under(model, parameters)(x)
    hidden = torch.cat(
        [
            functional.linear(rows, w, model[0].bias)
            for rows, w in zip(x.split(ROWS), parameters["0.weight"], strict=True)
        ]
    )
    normal = functional.batch_norm(hidden, None, None, training=True).unflatten(0, (PACKS, ROWS))
    torch.testing.assert_close(
        found, (normal * parameters["1.weight"][:, None] + model[1].bias).flatten(0, 1)
    )
    torch.testing.assert_close(model[1].running_mean, 0.1 * hidden.mean(0))


def test_dropout_draws_for_each_row() -> None:
    model = nn.Sequential(nn.Linear(4, 64), nn.Dropout())
    out = under(model, values_of(model, ["0.weight"]))(_vector(4))
    dropped = out == 0
    assert 0.3 < dropped.float().mean() < 0.7
    assert not torch.equal(dropped[0], dropped[ROWS])


def test_methods_and_parts_run_under_the_packs_and_the_rest_is_the_module_s_own() -> None:
    class Parts(nn.Module):
        history = 7

        def __init__(self) -> None:
            super().__init__()
            self.base, self.top = nn.Linear(4, 4), nn.Linear(4, 4)

        def encode(self, x: Tensor, *, twice: bool = False) -> Tensor:
            return self.base(x) * (2 if twice else 1)

        def head(self, hidden: Tensor, items: Tensor) -> Tensor:
            return self.top(hidden) @ items.T

        def forward(self, x: Tensor) -> Tensor:
            return self.top(self.base(x))

        @property
        def table(self) -> Tensor:
            return 2 * self.top.weight

    model, x, items = Parts(), _vector(4), torch.randn(PACKS * ROWS, 4)
    stand_in = under(model, parameters := values_of(model, ["top.weight"]))
    assert stand_in.history == 7
    assert stand_in.base is model.base
    hidden = stand_in.encode(x, twice=True)
    torch.testing.assert_close(hidden, 2 * model.base(x))
    expected = torch.cat(
        [
            functional.linear(rows, w, model.top.bias)
            for rows, w in zip(hidden.split(ROWS), parameters["top.weight"], strict=True)
        ]
    )
    torch.testing.assert_close(stand_in.top(hidden), expected)
    # As many items as rows: nothing but the mark tells that all packs share them.
    torch.testing.assert_close(stand_in.head(hidden, for_all(items)), expected @ items.T)
    torch.testing.assert_close(model.head(hidden, for_all(items)), model.head(hidden, items))
    for read in (lambda: stand_in.top.weight, lambda: stand_in.table):
        with pytest.raises(AttributeError, match="differs between packs"):
            read()


def test_call_gives_each_pack_its_rows_and_call_alike_the_same() -> None:
    model = Pattern(lambda m, x: {"a": x @ m.weight.exp(), "b": (x * 2,)})
    parameters, x = values_of(model, ["weight"]), _vector(4).unflatten(0, (PACKS, ROWS))
    torch.testing.assert_close(call(model, parameters, x)["a"], x @ parameters["weight"].exp())
    alike = call_alike(model, parameters, x[0])
    torch.testing.assert_close(alike["a"], x[0] @ parameters["weight"].exp())
    torch.testing.assert_close(alike["b"][0], 2 * x[0].expand(PACKS, ROWS, 4))


@pytest.mark.parametrize("use", [_deciding, _zeros, lambda m, x: _added(x, functional.linear(x, m.weight))])
def test_call_alike_runs_any_module(use: Use) -> None:
    model, x = Pattern(use), torch.randn(ROWS, 4)
    parameters = values_of(model, ["weight"])
    expected = by_definition(model, parameters, x.repeat(PACKS, 1))
    torch.testing.assert_close(call_alike(model, parameters, x).flatten(0, 1), expected[0])


def test_a_batch_that_does_not_fall_into_packs_is_refused() -> None:
    model = nn.Linear(4, 3)
    stand_in = under(model, values_of(model, ["weight"]))
    with pytest.raises(ValueError, match=r"shape \[4, 4\] does not fall into 3 packs"):
        stand_in(torch.randn(4, 4))
    pattern = Pattern(lambda m, x: x)
    pattern.forward = lambda x, y: x @ y.T  # type: ignore[method-assign]
    with pytest.raises(ValueError, match=r"tensors of 12 and of 6 rows.*for_all"):
        under(pattern, values_of(pattern, ["weight"]))(_vector(4), torch.randn(6, 4))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"0.weights": torch.zeros(3, 3, 4)}, "0.weights is no parameter"),
        ({"0.weight": torch.zeros(3, 4)}, r"0.weight: expected \[3, 3, 4\], got \[3, 4\]"),
        ({"0.weight": torch.zeros(3, 3, 4), "0.bias": torch.zeros(2, 3)}, r"0.bias: expected \[3, 3\], got"),
    ],
)
def test_values_that_do_not_fit_are_refused(parameters: dict[str, Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        under(nn.Sequential(nn.Linear(4, 3)), parameters)
