"""The request policy in a bundle: what it computes, and what of a file is no policy."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import save

from mnet.export.format.errors import BundleError
from mnet.export.format.shift import Shift

IDS = Shift("ids", torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 3.0]]), 1.0, 0.5)
VECTORS = Shift("vectors", torch.tensor([[2.0], [0.0], [-1.0]]), 2.0, 0.5)


def test_the_statistic_is_the_average_with_the_newest_sample_first() -> None:
    # Ages 2, 1, 0 at a half-life of 1: weights 1/4, 1/2, 1.
    assert IDS.statistic(torch.tensor([[1, 2, 1]]))[0].tolist() == pytest.approx([1.25 / 1.75, 1.5 / 1.75])
    padded = torch.tensor([[0, 0, 1, 2, 1]])
    assert torch.equal(IDS.statistic(padded), IDS.statistic(padded[:, 2:]))
    vectors = torch.tensor([[[1.0, 9.0, 0.0], [0.0, 9.0, 1.0]]])
    older = 2**-0.5
    assert VECTORS.statistic(vectors).item() == pytest.approx((2 * older - 1) / (older + 1))
    assert VECTORS.statistic(torch.zeros(1, 4, 3)).item() == 0


def test_it_asks_beyond_the_threshold() -> None:
    then = torch.tensor([1.0, 1.0])
    assert not IDS.asks(then, torch.tensor([1.5, 1.5]))
    assert IDS.asks(then, torch.tensor([1.5, 1.6]))


@pytest.mark.parametrize("policy", [IDS, VECTORS])
def test_a_file_brings_it_back(policy: Shift) -> None:
    data = policy.to_bytes()
    back = Shift.from_bytes(data)
    assert (back.samples, back.half_life, back.threshold) == (
        policy.samples,
        policy.half_life,
        policy.threshold,
    )
    assert torch.equal(back.projection, policy.projection)
    assert back.to_bytes() == data


@pytest.mark.parametrize("samples", [[[3]], [[-1]], [[[1.0, 2.0, 3.0]]]])
def test_samples_of_another_kind_are_told(samples: list[object]) -> None:
    with pytest.raises(ValueError, match="id from 1 to 2"):
        IDS.statistic(torch.tensor(samples))
    with pytest.raises(ValueError, match="vector of 3"):
        VECTORS.statistic(torch.ones(1, 2, 4))


def test_what_is_no_policy_is_refused() -> None:
    text = IDS.to_bytes()
    for damaged in (
        b"",
        text[:-1],
        text.replace(b"mnet.policy/1", b"mnet.policy/2"),
        text.replace(b"ids", b"idz"),
        save({"projection": torch.ones(2, 2)}),
        replace(IDS, projection=torch.full((3, 2), torch.inf)).to_bytes(),
        replace(IDS, projection=torch.ones(3)).to_bytes(),
        replace(IDS, half_life=0.0).to_bytes(),
        replace(IDS, threshold=-1.0).to_bytes(),
    ):
        with pytest.raises(BundleError, match="request policy"):
            Shift.from_bytes(damaged)
