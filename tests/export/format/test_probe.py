import math

import pytest
import torch
from torch import Tensor

from mnet.export.format.probe import LENGTH, distance, probe


def reference(values: list[float]) -> list[float]:
    """The sums as the format is described, one value after the other."""
    sums = [0.0] * LENGTH
    for i, value in enumerate(values):
        h = (i + 1) * 0x9E3779B1 % 2**32
        h ^= h >> 16
        h = h * 0x85EBCA6B % 2**32
        h ^= h >> 13
        h = h * 0xC2B2AE35 % 2**32
        h ^= h >> 16
        sums = [total + value if h >> k & 1 else total - value for k, total in enumerate(sums)]
    return [total / math.sqrt(len(values)) for total in sums]


@pytest.mark.parametrize("size", [1, 7, 1000, 40_000])
def test_it_is_what_the_format_says(size: int) -> None:
    values = torch.randn(size, generator=torch.Generator().manual_seed(size)).double()
    assert probe([values], [1.0]) == pytest.approx(reference(values.tolist()), rel=1e-9, abs=1e-12)


def test_outputs_are_concatenated_each_in_its_own_scale() -> None:
    outputs = [torch.tensor([[1.0, -2.0], [3.0, 0.5]]), torch.tensor([7, 3]), torch.tensor([True, False])]
    joined = [1 / 2, -2 / 2, 3 / 2, 0.5 / 2, 7 / 5, 3 / 5, 1.0, 0.0]
    assert probe(outputs, [2.0, 5.0, 1.0]) == pytest.approx(reference(joined))


@pytest.mark.parametrize("position", [0, 15, 16, 999])
def test_every_value_counts_wherever_it_is(position: int) -> None:
    values = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    other = values.clone()
    other[position] += 1
    assert distance(probe([other], [1.0]), probe([values], [1.0])) > 0.5 / math.sqrt(1000) / 3


def test_the_signs_are_as_good_as_random() -> None:
    """16 independent sums: the probes of the unit vectors have no correlation to speak of."""
    count = 2000
    units = torch.eye(count).double()
    signs = torch.tensor([probe([unit], [1.0]) for unit in units]) * math.sqrt(count)
    assert signs.abs().allclose(torch.ones(()))
    assert (signs.T @ signs / count - torch.eye(LENGTH)).abs().max() < 0.1


@pytest.mark.parametrize(
    "broken",
    [torch.tensor([1.0, torch.nan]), torch.tensor([torch.inf, 1.0]), torch.tensor([torch.inf, -torch.inf])],
)
def test_what_is_not_finite_agrees_with_nothing(broken: Tensor) -> None:
    found = probe([torch.ones(2), broken], [1.0, 1.0])
    assert not any(map(math.isfinite, found))
    assert distance(found, found) == distance(found, [1.0] * LENGTH) == math.inf


def test_the_distance_is_relative_to_large_sums_only() -> None:
    assert distance([0.1] * 16, [0.2] * 16) == pytest.approx(0.1)
    assert distance([100.0] * 16, [200.0] * 16) == pytest.approx(0.5)
    assert distance([0.1] * 15, [0.1] * 16) == math.inf
