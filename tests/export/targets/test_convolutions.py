"""Generated convolutions, on the targets whose slots are in other layouts or whose optimizer would fold them."""

from pathlib import Path

import pytest

from mnet.export.exporter import export_bundle
from mnet.export.format.golden import max_abs_error
from mnet.export.session import open_session
from mnet.export.verify import verify_bundle
from tests.export.models import ConvNet, Normalized, image_spec
from tests.export.ranker import PackFactory, random_weights

EXACT = 1e-4
LAYOUTS = {"executorch": ["OHWI", "O", "IHWO", "O", "OI"], "onnx": ["OIHW", "O", "OIHW", "O", "OI"]}


@pytest.mark.parametrize("target", LAYOUTS)
def test_they_are_swapped(target: str, tmp_path: Path) -> None:
    model = ConvNet().eval()
    bundle = export_bundle(image_spec(model, model.generated), target, tmp_path / "b")
    assert [slot.layout for slot in bundle.manifest.slots] == LAYOUTS[target]
    assert verify_bundle(bundle).output_change > 100 * EXACT
    packs, session = PackFactory(bundle, model), open_session(bundle)
    for version in range(1, 6):
        weights = random_weights(bundle, seed=version)
        session.swap(packs.pack(weights, version))
        assert max_abs_error(session.run(bundle.golden.inputs[0]), [packs.expected(weights)]) < EXACT


@pytest.mark.parametrize("target", LAYOUTS)
def test_a_batch_norm_behind_them_is_not_folded(target: str, tmp_path: Path) -> None:
    model = Normalized().eval()
    bundle = export_bundle(image_spec(model, model.generated), target, tmp_path / "b")
    assert verify_bundle(bundle).max_error < EXACT
