"""An operation that XNNPACK accepts and then fails on goes to the portable kernels, and the export says so."""

from pathlib import Path

import pytest
import torch
from torch import nn

import mnet
from mnet.export.inspection import profile_of
from mnet.export.lowering.xnnpack_refusals import with_what_xnnpack_takes
from mnet.export.targets import android


def test_an_operation_that_xnnpack_fails_on_is_left_to_portable_kernels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without this rewriting, XNNPACK takes the PReLU of a vector and asks for an image.
    monkeypatch.setattr(android, "for_executorch", lambda traced, *_: traced)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.PReLU(), nn.Linear(8, 3)).eval()
    said: list[str] = []
    mnet.export_module(
        model, generated=["2.*"], example=(torch.randn(1, 4),), target="android", out=tmp_path / "b", stage=said.append
    )  # fmt: skip
    assert said[-1].startswith("portable kernels run 2 of 6 operations")
    assert "µs of an inference here" in said[-1]


def test_what_portable_kernels_cost_is_told_of_programs_in_two_parts(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(10, 8), nn.Linear(8, 8), nn.Flatten(), nn.Linear(32, 3)).eval()
    bundle = mnet.export_module(
        model, generated=["3.*"], example=(torch.randint(10, (1, 4)),), target="executorch", out=tmp_path / "b"
    )  # fmt: skip
    profile = profile_of(bundle)
    assert profile is not None
    assert "embedding" in profile.kernels_us  # of `encode`
    assert 0 < sum(profile.kernels_us.values()) < profile.inference_us


def test_an_error_that_is_at_no_operation_is_raised() -> None:
    calls = []

    def lower(configs: object) -> None:
        calls.append(configs)
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        with_what_xnnpack_takes(lower)
    assert len(calls) == 1
