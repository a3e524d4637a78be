"""Any module, anybody's weights: exported, packed and swapped through the public functions."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mnet
from mnet import BundleError, Refused


class TwoHeads(nn.Module):
    """Vectors and a mask, by keyword -> a dict: scores fp32, the best one int64, and whether it is sure."""

    def __init__(self) -> None:
        super().__init__()
        self.base = nn.Linear(6, 8)
        self.head = nn.Linear(8, 4)

    def forward(self, *, features: Tensor, mask: Tensor) -> dict[str, Any]:
        hidden = torch.relu(self.base(features)) * mask.float()
        scores = self.head(hidden).softmax(-1)
        return {"scores": scores, "best": scores.argmax(-1), "extra": {"sure": scores.amax(-1) > 0.2}}


@pytest.fixture(scope="module")
def heads() -> TwoHeads:
    torch.manual_seed(0)
    return TwoHeads().eval()


@pytest.fixture(scope="module")
def bundle(heads: TwoHeads, tmp_path_factory: pytest.TempPathFactory) -> mnet.Bundle:
    example = {"features": torch.randn(1, 6), "mask": torch.tensor([[True] * 6 + [False] * 2])}
    out = tmp_path_factory.mktemp("modules") / "b"
    return mnet.export_module(heads, generated=["head.*"], example=example, target="onnx", out=out)


def weights(seed: int) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    return {"head.weight": torch.randn(4, 8), "head.bias": torch.randn(4)}


def test_inputs_and_outputs_are_called_as_in_the_module(bundle: mnet.Bundle) -> None:
    manifest = bundle.manifest
    assert [(info.name, info.dtype) for info in manifest.inputs] == [
        ("features", "float32"),
        ("mask", "bool"),
    ]
    assert [(info.name, info.dtype) for info in manifest.outputs] == [
        ("scores", "float32"),
        ("best", "int64"),
        ("extra.sure", "bool"),
    ]
    assert [slot.parameter for slot in manifest.slots] == ["head.weight", "head.bias"]
    assert mnet.verify(bundle).packs == 23


@pytest.mark.parametrize("with_module", [True, False])
def test_a_pack_of_anybodys_weights_is_swapped_in(
    bundle: mnet.Bundle, heads: TwoHeads, with_module: bool
) -> None:
    session, new = mnet.open_session(bundle), weights(1)
    session.swap(mnet.make_pack(bundle, new, version=1, module=heads if with_module else None))
    features, mask = bundle.golden.inputs[0]
    expected = torch.func.functional_call(heads, new, kwargs={"features": features, "mask": mask})
    scores, best, sure = session.run((features, mask))
    torch.testing.assert_close(scores, expected["scores"])
    assert torch.equal(best, expected["best"])
    assert torch.equal(sure, expected["extra"]["sure"])


def test_the_probe_is_the_same_by_the_module_and_by_the_runtime(bundle: mnet.Bundle, heads: TwoHeads) -> None:
    from mnet.export.format.packs import unpack

    ours, theirs = (
        unpack(mnet.make_pack(bundle, weights(2), version=1, module=each))[0].probe for each in (heads, None)
    )
    assert ours == pytest.approx(theirs, abs=1e-5)


def test_a_whole_state_dict_is_taken_if_the_rest_is_the_modules(bundle: mnet.Bundle, heads: TwoHeads) -> None:
    state = heads.state_dict() | weights(3)
    assert mnet.make_pack(bundle, state, 1, module=heads) == mnet.make_pack(
        bundle, weights(3), 1, module=heads
    )
    with pytest.raises(BundleError, match=r"base.weight differs from the module's, and no pack carries it"):
        mnet.make_pack(bundle, state | {"base.weight": state["base.weight"] + 1}, 1, module=heads)
    with pytest.raises(Refused, match="no slot for base"):
        mnet.make_pack(bundle, state, 1)


def test_another_module_is_refused(bundle: mnet.Bundle) -> None:
    with pytest.raises(BundleError, match="not exported from this module"):
        mnet.make_pack(bundle, weights(1), 1, module=TwoHeads().eval())


def test_weights_that_do_not_fit_are_refused_by_name(bundle: mnet.Bundle, heads: TwoHeads) -> None:
    with pytest.raises(Refused, match="missing_tensor"):
        mnet.make_pack(bundle, {"head.bias": torch.zeros(4)}, 1)
    with pytest.raises(Refused, match="wrong_shape"):
        mnet.make_pack(bundle, weights(1) | {"head.bias": torch.zeros(5)}, 1)
    with pytest.raises(ValueError, match="not finite"):
        mnet.make_pack(bundle, weights(1) | {"head.weight": torch.full((4, 8), 3e38)}, 1, module=heads)


def test_a_pattern_that_matches_nothing_lists_the_parameters(heads: TwoHeads, tmp_path: Path) -> None:
    example = {"features": torch.randn(1, 6), "mask": torch.ones(1, 8, dtype=torch.bool)}
    with pytest.raises(BundleError, match=r"no parameter matches 'tail.\*'; the model has base.weight"):
        mnet.export_module(heads, generated=["tail.*"], example=example, target="onnx", out=tmp_path / "b")
