"""The stabilizer's parts, each by itself."""

import pytest
import torch

from mnet.toolchain.metanetwork import MetaStabilizer, smooth


def test_no_context_moves_a_weight_beyond_the_bound() -> None:
    shared = {"w": torch.tensor([1.0, -1.0])}
    residual = {"w": torch.tensor([[1e6, -1e6], [0.01, 0.0]])}
    moved = MetaStabilizer(0.5)(shared, residual)["w"]
    torch.testing.assert_close(moved[0], torch.tensor([1.5, -1.5]))
    torch.testing.assert_close(moved[1], torch.tensor([1.01, -1.0]), atol=1e-4, rtol=0)
    torch.testing.assert_close(MetaStabilizer(None)(shared, residual)["w"], shared["w"] + residual["w"])


def test_windows_average_each_vector_with_those_before_it_that_are_not_empty() -> None:
    vectors = torch.tensor([[0.0], [0.0], [6.0], [2.0], [1.0], [9.0]])[None]
    averaged = MetaStabilizer(windows=3).over_windows(vectors)
    torch.testing.assert_close(averaged, torch.tensor([[0.0], [0.0], [6.0], [4.0], [3.0], [4.0]])[None])
    assert MetaStabilizer(windows=1).over_windows(vectors) is vectors


def test_a_smoothed_release_keeps_its_share_of_the_one_before() -> None:
    old, new = {"w": torch.tensor([4.0, 0.0])}, {"w": torch.tensor([0.0, 8.0])}
    torch.testing.assert_close(smooth(old, new, 0.25)["w"], torch.tensor([1.0, 6.0]))
    assert torch.equal(smooth(old, new, 0.0)["w"], new["w"])


@pytest.mark.parametrize(("settings", "message"), [({"bound": 0.0}, "bound"), ({"windows": 0}, "windows")])
def test_settings_that_make_no_sense_are_refused(settings: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=f"{message} must be"):
        MetaStabilizer(**settings)
