"""Target `ios`: what the saved package is, and that its checker sees what is wrong with one."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mnet.export.targets.ios as coreml
from mnet.export.exporter import export_bundle
from mnet.export.format.bundle import Bundle
from mnet.export.format.errors import BundleError, IntegrityError
from mnet.export.format.golden import LEAST_CHANGE, max_abs_error, relative_error
from mnet.export.lowering.coreml_checker import SavedProgram
from mnet.export.lowering.spec import ExportSpec
from mnet.export.session import open_session
from mnet.export.verify import verify_bundle
from tests.export.models import ConvNet, Normalized, Recurrent, image_spec
from tests.export.ranker import PackFactory, Ranker, random_weights, ranker_bundle, ranker_spec

SIZES = [16 * 16, 16, 16 * 16, 16]


@pytest.fixture(scope="module")
def bundle(model: Ranker, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return ranker_bundle(tmp_path_factory, model, "ios")


@pytest.fixture(scope="module")
def with_state(model: Ranker, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return ranker_bundle(tmp_path_factory, model, "ios", "state")


def specification(package: Path) -> Any:
    from coremltools.proto import Model_pb2

    content = Model_pb2.Model()
    content.ParseFromString((package / "Data/com.apple.CoreML/model.mlmodel").read_bytes())
    return content


def test_the_slots_lie_one_behind_the_other_in_a_padded_fp16_input(bundle: Bundle) -> None:
    bindings = [coreml.SliceBinding.of(slot) for slot in bundle.manifest.slots]
    assert [(binding.source, binding.offset, binding.size) for binding in bindings] == [
        ("input", sum(SIZES[:k]), size) for k, size in enumerate(SIZES)
    ]
    description = specification(bundle.path / "model.mlpackage").description
    array = description.input[-1].type.multiArrayType
    assert [each.name for each in description.input] == ["history", "candidates", coreml.WEIGHTS]
    assert list(array.shape) == [544]
    assert sum(SIZES) == 544 == 17 * 32
    assert array.dataType == array.FLOAT16


def test_a_vector_is_padded_with_zeros(model: Ranker, tmp_path: Path) -> None:
    bundle = export_bundle(ranker_spec(model, ("head_in.bias",)), "ios", tmp_path / "b")
    flat = coreml.flatten({"head_in.bias": torch.ones(16)}, bundle.manifest.slots)
    assert flat.dtype == torch.float16
    assert flat.tolist() == [1.0] * 16 + [0.0] * 16


def test_with_binding_state_the_program_reads_a_state_instead(with_state: Bundle) -> None:
    content = specification(with_state.path / "model.mlpackage")
    assert [each.name for each in content.description.input] == ["history", "candidates"]
    assert [each.name for each in content.description.state] == [coreml.WEIGHTS]
    assert content.specificationVersion == 9
    assert content.mlProgram.functions["main"].opset == "CoreML8"
    assert "read_state" in SavedProgram(with_state.path / "model.mlpackage").ops()
    assert {coreml.SliceBinding.of(slot).source for slot in with_state.manifest.slots} == {"state"}
    assert verify_bundle(with_state).output_change > LEAST_CHANGE * with_state.manifest.golden.tolerance


SPECS: list[tuple[type[nn.Module], Callable[[nn.Module, tuple[str, ...]], ExportSpec]]] = [
    (ConvNet, image_spec),
    (Normalized, image_spec),  # nothing is folded into an input
    (Recurrent, ranker_spec),
]


@pytest.mark.parametrize(("kind", "spec_of"), SPECS, ids=[kind.__name__ for kind, _ in SPECS])
def test_a_swap_gives_what_eager_pytorch_gives(
    kind: type[nn.Module], spec_of: Callable[[nn.Module, tuple[str, ...]], ExportSpec], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = kind().eval()
    bundle = export_bundle(spec_of(model, kind.generated), "ios", tmp_path / "b")
    packs, session = PackFactory(bundle, model), open_session(bundle)
    for version in range(1, 6):
        weights = random_weights(bundle, seed=version)
        session.swap(packs.pack(weights, version))
        outputs = session.run(bundle.golden.inputs[0])
        error = relative_error(outputs, [packs.expected(weights)], bundle.manifest.scales)
        assert error <= bundle.manifest.golden.tolerance


class Masked(nn.Module):
    """Ids [1, L], 0 for padding -> a TransformerEncoder that is given a mask of padding -> scores [1, 4]."""

    def __init__(self) -> None:
        super().__init__()
        self.items, self.head = nn.Embedding(20, 16), nn.Linear(16, 4)
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)

    def forward(self, ids: Tensor) -> Tensor:
        padding = ids == 0
        x = self.encoder(self.items(ids), src_key_padding_mask=padding)
        return self.head((x * (~padding).float().unsqueeze(-1)).sum(1))


def test_a_mask_of_padding_is_not_inverted(tmp_path: Path) -> None:
    """coremltools gives `zeros_like(mask, dtype=float)` the dtype of the mask, and so masks what is not padding."""
    torch.manual_seed(0)
    inputs = ((torch.tensor([[3, 5, 7, 0, 0, 0]]),), (torch.tensor([[3, 5, 7, 9, 2, 4]]),))
    spec = ExportSpec("masked", Masked().eval(), ("head.weight",), inputs, ("ids",), ("scores",))
    verify_bundle(export_bundle(spec, "ios", tmp_path / "b"))


class Leaking(Ranker):
    """Holds a generated weight by a second, unregistered reference, which no swap can reach."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = [self.head_in.weight]

    def forward(self, history: Tensor, candidates: Tensor) -> Tensor:
        scores = super().forward(history, candidates)
        return scores + (self.items(history).mean(1) @ self.hidden[0]).mean()


def test_a_generated_weight_that_is_also_a_constant_is_found_in_fp16_too(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"head_in\.weight is also a constant of the program"):
        export_bundle(ranker_spec(Leaking()), "ios", tmp_path / "b")


def test_an_unknown_binding_names_those_there_are(model: Ranker, tmp_path: Path) -> None:
    spec = ranker_spec(model, binding="telepathy")
    with pytest.raises(BundleError, match="no binding 'telepathy', it offers one of input, state"):
        export_bundle(spec, "ios", tmp_path / "b")
    with pytest.raises(
        BundleError, match="target onnx has no binding 'telepathy', it offers no choice of it"
    ):
        export_bundle(spec, "onnx", tmp_path / "b")


def test_nothing_of_the_exporting_machine_is_in_the_packages(bundle: Bundle) -> None:
    for file in filter(Path.is_file, bundle.path.rglob("*")):
        content = file.read_bytes()
        assert str(Path(__file__).parent).encode() not in content
        assert b".py" not in content, file


@pytest.fixture
def package(bundle: Bundle, tmp_path: Path) -> Path:
    """A copy of the program, to be damaged."""
    return Path(shutil.copytree(bundle.path / "model.mlpackage", tmp_path / "model.mlpackage"))


def rewrite(package: Path, change: Callable[[Any], None]) -> None:
    content = specification(package)
    function = content.mlProgram.functions["main"]
    change(function.block_specializations[function.opset])
    (package / "Data/com.apple.CoreML/model.mlmodel").write_bytes(content.SerializeToString())


def operation(block: Any, kind: str) -> Any:
    return next(each for each in block.operations if each.type == kind)


def test_an_op_that_the_checker_does_not_know_is_named(package: Path) -> None:
    rewrite(package, lambda block: setattr(operation(block, "relu"), "type", "relu9"))
    with pytest.raises(BundleError, match="does not know the op relu9"):
        SavedProgram(package)


def test_a_state_in_an_opset_that_knows_none_is_refused(with_state: Bundle, tmp_path: Path) -> None:
    package = Path(shutil.copytree(with_state.path / "model.mlpackage", tmp_path / "model.mlpackage"))
    content = specification(package)
    function = content.mlProgram.functions["main"]
    function.block_specializations["CoreML7"].CopyFrom(function.block_specializations[function.opset])
    function.opset = "CoreML7"
    (package / "Data/com.apple.CoreML/model.mlmodel").write_bytes(content.SerializeToString())
    with pytest.raises(BundleError, match="read_state is of opset CoreML8"):
        SavedProgram(package)


def test_a_result_of_another_shape_than_declared_is_an_error(bundle: Bundle, package: Path) -> None:
    def change(block: Any) -> None:
        operation(block, "relu").outputs[0].type.tensorType.dimensions[1].constant.size = 17

    rewrite(package, change)
    with pytest.raises(BundleError, match=r"has shape \(1, 16\), its program says \(1, 17\)"):
        coreml.load_program(package, bundle.manifest).bind(bundle.default_weights)(bundle.golden.inputs[0])


def test_weights_are_read_from_the_blob_file(bundle: Bundle, package: Path) -> None:
    file = package / "Data/com.apple.CoreML/weights/weight.bin"
    good = file.read_bytes()
    file.write_bytes(good[:-1])
    with pytest.raises(BundleError, match="no whole record"):
        SavedProgram(package)
    file.write_bytes(good[:-512] + bytes(512))
    run = coreml.load_program(package, bundle.manifest).bind(bundle.golden.weights)
    worst = max(
        max_abs_error(run(inputs), expected)
        for inputs, expected in zip(bundle.golden.inputs, bundle.golden.swapped, strict=True)
    )
    assert worst > bundle.manifest.golden.tolerance


def test_another_program_in_its_place_is_refused(bundle: Bundle, with_state: Bundle) -> None:
    for other in (with_state.path / "model.mlpackage", bundle.path / "bench" / "baked.mlpackage"):
        with pytest.raises(BundleError, match="its manifest says"):
            coreml.load_program(other, bundle.manifest)
    with pytest.raises(BundleError, match=r"no readable \.mlpackage"):
        coreml.load_program(bundle.path / "bench", bundle.manifest)


def test_the_package_is_covered_by_the_bundles_id(bundle: Bundle, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(bundle.path, tmp_path / "copy"))
    (copy / "model.mlpackage/Data/com.apple.CoreML/weights/weight.bin").write_bytes(b"")
    with pytest.raises(IntegrityError, match="wrong_size"):
        Bundle.load(copy)
