"""`under` and `call` give what `functional_call` gives for each pack by itself: values and gradients, of any module."""

import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from mnet.toolchain.metanetwork import call, call_alike, check_generated, for_all, under
from tests.export.kinds import KINDS, Kind
from tests.metanetwork.patterns import (
    LAYERS,
    PACKS,
    PATTERNS,
    ROWS,
    Pattern,
    Use,
    added,
    deciding,
    vector,
    zeros,
)


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="There is a performance drop")
        yield


def values_of(model: nn.Module, names: list[str]) -> dict[str, Tensor]:
    """Other values of these parameters in each pack."""
    return {
        name: (model.get_parameter(name) + 0.5 * torch.randn(PACKS, *model.get_parameter(name).shape))
        .detach()
        .requires_grad_()
        for name in names
    }


def trained(model: nn.Module, names: list[str]) -> list[Tensor]:
    """The other parameters of a model, less those that are frozen."""
    others = (value for name, value in model.named_parameters() if name not in names)
    return [value for value in others if value.requires_grad]


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
    others = trained(reference or model, names)
    inputs = [x] if x.is_floating_point() else []
    wanted = [*inputs, *parameters.values(), *others]
    weights = [torch.randn_like(value) for value in expected]
    gradients = torch.autograd.grad(
        sum((w * v).sum() for w, v in zip(weights, expected, strict=True)), wanted, allow_unused=True
    )
    for one_by_one in (False, True):
        found = tensors(under(model, parameters, one_by_one)(x))
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
        own = trained(model, names)
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
                msg=f"gradient of {name}",
            )
    assert any(not torch.allclose(a, b) for a, b in zip(expected, tensors(model(x)), strict=True))


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_gives_what_each_pack_gives_alone(pattern: str) -> None:
    use = PATTERNS[pattern]
    model, reference = Pattern(use), None
    if pattern.startswith("checkpoint"):
        reference = Pattern(lambda m, x: torch.tanh(x @ m.weight))
        reference.load_state_dict(model.state_dict())
    x = vector(4)
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
    for use in (deciding, lambda m, x: zeros(m, x)):
        model = Pattern(use)
        with pytest.warns(UserWarning, match="Pattern.call does not run for all packs at once"):
            under(model, values_of(model, ["weight"]))(vector(4))
        assert_same(model, vector(4), ["weight"])


def test_batch_norm_in_training_takes_its_statistics_from_all_packs() -> None:
    model, reference = (nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)) for _ in range(2))
    reference.load_state_dict(model.state_dict())
    parameters, x = values_of(model, ["0.weight", "1.weight"]), vector(4)
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
    out = under(model, values_of(model, ["0.weight"]))(vector(4))
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

    model, x, items = Parts(), vector(4), torch.randn(PACKS * ROWS, 4)
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
    parameters, x = values_of(model, ["weight"]), vector(4).unflatten(0, (PACKS, ROWS))
    torch.testing.assert_close(call(model, parameters, x)["a"], x @ parameters["weight"].exp())
    alike = call_alike(model, parameters, x[0])
    torch.testing.assert_close(alike["a"], x[0] @ parameters["weight"].exp())
    torch.testing.assert_close(alike["b"][0], 2 * x[0].expand(PACKS, ROWS, 4))


@pytest.mark.parametrize("use", [deciding, zeros, lambda m, x: added(x, functional.linear(x, m.weight))])
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
    pattern.forward = lambda x, y: x @ y.T  # type: ignore[method-assign, assignment, misc]
    with pytest.raises(ValueError, match=r"tensors of 12 and of 6 rows.*for_all"):
        under(pattern, values_of(pattern, ["weight"]))(vector(4), torch.randn(6, 4))


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
