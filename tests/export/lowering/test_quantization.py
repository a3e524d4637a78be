import copy
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

import mnet.export.targets.tflite as tflite
from mnet.export.exporter import export_bundle
from mnet.export.format.bundle import Bundle
from mnet.export.format.errors import BundleError
from mnet.export.format.golden import Reference, max_abs_error
from mnet.export.format.slots import patch, place, stored
from mnet.export.lowering.quantization import base_weights, with_base
from mnet.export.lowering.spec import ExportSpec
from mnet.export.session import open_session
from tests.export.models import ConvNet, Recurrent, image_spec
from tests.export.ranker import Ranker, random_weights, ranker_spec

Spec = Callable[[nn.Module, tuple[str, ...]], ExportSpec]
Quantized = tuple[Bundle, ExportSpec]


@pytest.fixture(scope="module", params=[(ConvNet, image_spec), (Recurrent, ranker_spec)], ids=["conv", "gru"])
def quantized(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Quantized:
    """A model with an int8 base, exported for LiteRT, and what it was exported from."""
    torch.manual_seed(0)
    kind, spec_of = request.param
    spec = dataclasses.replace(spec_of(kind().eval(), kind.generated), base_dtype="int8")
    return export_bundle(spec, "tflite", tmp_path_factory.mktemp("int8") / "bundle"), spec


def test_the_base_is_int8_and_the_slots_stay_fp32(quantized: Quantized, tmp_path: Path) -> None:
    bundle, spec = quantized
    data = (bundle.path / "model.tflite").read_bytes()
    for slot in bundle.manifest.slots:
        assert data.count(stored(bundle.golden.weights[slot.parameter], slot.layout)) == 1
    rounded = with_base(spec.model, spec.generated, "int8")
    for name in base_weights(rounded, spec.generated):
        assert stored(rounded.get_parameter(name), "OIHW"[: rounded.get_parameter(name).dim()]) not in data


def test_it_computes_what_eager_does_with_the_rounded_base(quantized: Quantized) -> None:
    bundle, spec = quantized
    reference = Reference(with_base(spec.model, spec.generated, "int8"))
    new, session = random_weights(bundle, seed=1), open_session(bundle)
    expected = reference.outputs(new, bundle.golden.inputs[0])
    session.swap(bundle.pack(new, 1, "test", bundle.probe(expected)))
    for inputs in bundle.golden.inputs:
        expected = reference.outputs(new, inputs)
        assert max_abs_error(session.run(inputs), expected) < 1e-4
        assert max_abs_error(expected, Reference(spec.model).outputs(new, inputs)) > 1e-4


def test_a_patched_file_is_the_one_that_an_export_of_the_new_weights_writes(
    quantized: Quantized, tmp_path: Path
) -> None:
    bundle, spec = quantized
    new = random_weights(bundle, seed=1)
    changed = with_base(spec.model, spec.generated, "int8")
    place(changed, new)
    tflite.lower(changed, spec, tmp_path / "again.tflite")
    data = (bundle.path / "model.tflite").read_bytes()
    assert patch(data, bundle.manifest.slots, new) == (tmp_path / "again.tflite").read_bytes()


def test_the_manifest_says_so(quantized: Quantized) -> None:
    bundle, _ = quantized
    assert bundle.manifest.model.base_dtype == "int8"
    assert json.loads((bundle.path / "manifest.json").read_bytes())["model"]["base_dtype"] == "int8"


def test_only_the_base_is_rounded() -> None:
    model = ConvNet()
    before = copy.deepcopy(model.state_dict())
    rounded = with_base(model, model.generated, "int8")
    assert base_weights(rounded, model.generated) == ["stem.weight"]
    changed = [name for name, value in rounded.state_dict().items() if not torch.equal(value, before[name])]
    assert changed == ["stem.weight"]
    assert rounded.stem.weight.flatten(1).unique(dim=1).shape[1] <= 255
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("target", ["android", "executorch", "onnx", "ios"])
def test_a_target_that_cannot_says_what_else_to_do(target: str, model: Ranker, tmp_path: Path) -> None:
    spec = dataclasses.replace(ranker_spec(model), base_dtype="int8")
    with pytest.raises(
        BundleError, match=f"target {target} keeps its base in fp32: .* there for tflite; .*pack dtype int8"
    ):
        export_bundle(spec, target, tmp_path / "b")
    assert list(tmp_path.iterdir()) == []


def test_a_model_without_a_base_has_nothing_to_quantize(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(3, 3))
    with pytest.raises(BundleError, match="nothing to quantize"):
        with_base(model, ("0.weight", "0.bias"), "int8")
