"""`under` gives what `call` gives, values and gradients, for every kind of layer, or refuses by name."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from mnet.toolchain.metanetwork import call, call_alike, under

PACKS, ROWS = 3, 4


class Scaled(nn.Module):
    """Bare parameters in the elementwise operations, on either side."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.rand(4) + 1)
        self.shift = nn.Parameter(torch.randn(5, 4))
        self.table = nn.Parameter(torch.randn(1, 5, 4))

    def forward(self, x: Tensor) -> Tensor:
        assert self.scale.shape == (4,)
        assert len(self.shift) == self.shift.size(0) == 5
        x = self.shift - (x * self.scale + self.table)
        return torch.add(x / self.scale, self.shift, alpha=2)


def image(*layers: nn.Module) -> tuple[nn.Module, Tensor]:
    return nn.Sequential(*layers), torch.randn(PACKS, ROWS, 4, 6, 6)


def rows(*layers: nn.Module, inner: tuple[int, ...] = ()) -> tuple[nn.Module, Tensor]:
    return nn.Sequential(*layers), torch.randn(PACKS, ROWS, *inner, 4)


CASES: dict[str, Callable[[], tuple[nn.Module, Tensor]]] = {
    "linear": lambda: rows(nn.Linear(4, 3)),
    "linear of sequences": lambda: rows(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2), inner=(5, 2)),
    "linear without bias": lambda: rows(nn.Linear(4, 3, bias=False)),
    "conv of 1x1": lambda: image(nn.Conv2d(4, 5, 1)),
    "conv of 1x1 with channels last": lambda: (
        nn.Conv2d(4, 5, 1),
        torch.randn(PACKS * ROWS, 4, 6, 6)
        .contiguous(memory_format=torch.channels_last)
        .unflatten(0, (PACKS, ROWS)),
    ),
    "conv of 1x1 in groups": lambda: image(nn.Conv2d(4, 6, 1, groups=2)),
    "conv of 1x1 with stride": lambda: image(nn.Conv2d(4, 5, 1, stride=2, bias=False)),
    "conv of 3x3": lambda: image(nn.Conv2d(4, 5, 3, padding=1), nn.ReLU(), nn.Conv2d(5, 2, (3, 1))),
    "conv dilated": lambda: image(nn.Conv2d(4, 5, 3, padding="same", dilation=2, bias=False)),
    "conv depthwise": lambda: image(nn.Conv2d(4, 8, 3, stride=2, groups=4)),
    "layer norm": lambda: rows(nn.LayerNorm((5, 4)), inner=(5,)),
    "group norm": lambda: image(nn.GroupNorm(2, 4)),
    "bare parameters": lambda: (Scaled(), torch.randn(PACKS, ROWS, 5, 4)),
}


def values_of(model: nn.Module, names: list[str]) -> dict[str, Tensor]:
    """Other values of these parameters in each pack."""
    return {
        name: (model.get_parameter(name) + 0.5 * torch.randn(PACKS, *model.get_parameter(name).shape))
        .detach()
        .requires_grad_()
        for name in names
    }


def assert_same(model: nn.Module, x: Tensor, names: list[str]) -> None:
    parameters = values_of(model, names)
    x.requires_grad_()
    with under(model, parameters):
        quick = model(x.flatten(0, 1)).unflatten(0, (PACKS, ROWS))
    general = call(model, parameters, x)
    torch.testing.assert_close(quick, general)
    assert not torch.allclose(general[0], call(model, {n: v.flip(0) for n, v in parameters.items()}, x)[0])
    others = [value for name, value in model.named_parameters() if name not in names]
    wanted = [x, *parameters.values(), *others]
    weights = torch.randn_like(general)
    for ours, reference in zip(
        torch.autograd.grad((quick * weights).sum(), wanted),
        torch.autograd.grad((general * weights).sum(), wanted),
        strict=True,
    ):
        torch.testing.assert_close(ours, reference)


@pytest.mark.parametrize("case", CASES)
def test_it_gives_what_call_gives_in_values_and_gradients(case: str) -> None:
    torch.manual_seed(0)
    model, x = CASES[case]()
    names = [name for name, _ in model.named_parameters()]
    assert_same(model, x, names)
    # Each parameter alone too: the weight is one per pack, the bias everyone's, and the other way round.
    for name in names:
        assert_same(model, x, [name])


def test_what_is_not_generated_runs_as_ever_and_so_does_everything_afterwards() -> None:
    torch.manual_seed(0)
    model, x = rows(nn.Linear(4, 4), nn.Dropout(), nn.Linear(4, 3))
    model.eval()
    before = model(x)
    with under(model, values_of(model, ["2.weight"])):
        assert not torch.allclose(model(x.flatten(0, 1)).view_as(before), before)
    assert torch.equal(model(x), before)


class Odd(nn.Module):
    """Puts its weight where `under` has no rule."""

    def __init__(self, use: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 4))
        self.use = use

    def forward(self, x: Tensor) -> Tensor:
        return self.use(x, self.weight)


@pytest.mark.parametrize(
    ("use", "operation"),
    [
        (lambda x, w: x @ w, "matmul"),
        (lambda x, w: torch.stack([w, w]).sum() * x, "stack"),
        (lambda x, w: x + w.exp(), "exp"),
        (lambda x, w: x + w[0], "__getitem__"),
        (lambda x, w: x + w.T, "T"),
        (lambda x, w: x + 2 * w, "mul"),
        (lambda x, w: nn.functional.linear(w, x), "linear"),
        (lambda x, w: x + w, "add"),
    ],
)
def test_an_operation_without_a_rule_is_refused_by_name(
    use: Callable[[Tensor, Tensor], Tensor], operation: str
) -> None:
    model = Odd(use)
    with (
        pytest.raises(
            NotImplementedError,
            match=rf"weight is generated and goes into \S*{operation}.* MetaNetwork\.call",
        ),
        under(model, values_of(model, ["weight"])),
    ):
        model(torch.randn(PACKS * ROWS, 4))


def test_a_parameter_of_more_dimensions_than_the_batch_is_refused() -> None:
    model = Odd(lambda x, w: x + w)
    model.weight = nn.Parameter(torch.randn(1, 1, 4))
    with (
        pytest.raises(NotImplementedError, match="it has a dimension for the batch"),
        under(model, values_of(model, ["weight"])),
    ):
        model(torch.randn(PACKS * ROWS, 4))


def test_call_runs_what_under_refuses() -> None:
    torch.manual_seed(0)
    model, x = Odd(lambda x, w: x @ w.exp()), torch.randn(PACKS, ROWS, 4)
    parameters = values_of(model, ["weight"])
    torch.testing.assert_close(call(model, parameters, x), x @ parameters["weight"].exp())


def test_call_alike_gives_what_call_gives_for_inputs_that_all_packs_share() -> None:
    class InPlace(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.base, self.generated = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            x = self.base(x)
            x += self.generated(x)
            return x

    for model in (InPlace(), nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3))):
        name = "generated.weight" if isinstance(model, InPlace) else "2.weight"
        parameters, x = values_of(model, [name]), torch.randn(ROWS, 4)
        expected = call(model, parameters, x.expand(PACKS, ROWS, 4))
        torch.testing.assert_close(call_alike(model, parameters, x), expected)


def test_a_batch_that_does_not_fall_into_packs_is_refused() -> None:
    model, _ = rows(nn.Linear(4, 3))
    parameters = values_of(model, ["0.weight"])
    with (
        pytest.raises(ValueError, match=r"shape \[4, 4\] does not fall into 3 packs"),
        under(model, parameters),
    ):
        model(torch.randn(4, 4))


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
