"""What only native code can reach: swaps under a reading thread, and XNNPACK's weight cache."""

import json
from pathlib import Path

import pytest

from mnet.export.format.bundle import Bundle
from mnet.export.format.golden import swap_weights
from mnet.export.targets.executorch import patch
from tests.native.conftest import Program


def test_swaps_under_running_inference_mix_nothing(
    program: Program, bundle: Bundle, pytestconfig: pytest.Config
) -> None:
    swaps = pytestconfig.getoption("--swaps")
    result = program("soak", bundle.path, swaps)
    assert result.returncode == 0, result.stderr
    seen = json.loads(result.stdout)
    assert seen["mixed"] == seen["stale"] == 0
    assert seen["versions"] > swaps / 2


def test_switching_between_resident_packs_mixes_nothing(
    program: Program, bundle: Bundle, pytestconfig: pytest.Config
) -> None:
    result = program("switches", bundle.path, pytestconfig.getoption("--swaps"))
    assert result.returncode == 0, result.stderr
    seen = json.loads(result.stdout)
    assert (seen["mixed"], seen["stale"], seen["kept"]) == (0, 0, True), seen


@pytest.mark.parametrize("bundle", ["executorch"], indirect=True)
def test_a_weight_cache_that_is_on_by_default_is_switched_off(
    program: Program, bundle: Bundle, tmp_path: Path
) -> None:
    """With the cache on, as phones have it, ExecuTorch's own Module serves old weights; a session must not."""
    scales = bundle.tensors(bundle.manifest.bench.swaps)["scale"]
    first = next(swap_weights(bundle.default_weights, bundle.golden.weights, scales))
    default = (bundle.path / "model.ptd").read_bytes()
    (tmp_path / "new.ptd").write_bytes(patch(default, bundle.manifest.slots, first))
    result = program("stale_cache", bundle.path, tmp_path / "new.ptd")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == {"module_is_stale": True, "session_is_right": True}
