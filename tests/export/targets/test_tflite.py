"""What LiteRT and its exporter do silently: each is reproduced where it can be, and shown not to get through."""

import copy
import ctypes
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import mnet.export.targets.tflite as tflite
from mnet.export.exporter import export_bundle
from mnet.export.format.bundle import Bundle
from mnet.export.format.errors import BundleError
from mnet.export.format.golden import max_abs_error
from mnet.export.format.slots import BytesBinding, find, patch, place, stored
from mnet.export.lowering.spec import ExportSpec
from mnet.export.session import open_session
from tests.export.models import ConvNet, Normalized, Recurrent, Separable, image_spec
from tests.export.ranker import PackFactory, Ranker, random_weights, ranker_bundle, ranker_spec

EXACT = 1e-4


@pytest.fixture(scope="module")
def bundle(model: Ranker, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return ranker_bundle(tmp_path_factory, model, "tflite")


def template(bundle: Bundle) -> bytes:
    return (bundle.path / "model.tflite").read_bytes()


def test_the_slots_are_bytes_of_the_file_that_hold_the_sentinels(bundle: Bundle) -> None:
    for slot in bundle.manifest.slots:
        binding = BytesBinding.of(slot)
        assert binding.file == "model.tflite"
        held = template(bundle)[binding.offset : binding.offset + binding.size]
        assert held == stored(bundle.golden.weights[slot.parameter], slot.layout)


def shapes(bundle: Bundle) -> list[tuple[torch.Size, torch.dtype]]:
    return [(tensor.shape, tensor.dtype) for tensor in bundle.golden.inputs[0]]


SPECS: list[tuple[type[nn.Module], Callable[[nn.Module, tuple[str, ...]], ExportSpec], list[str]]] = [
    (ConvNet, image_spec, ["OHWI", "O", "IHWO", "O", "OI"]),
    (Recurrent, ranker_spec, ["OI", "O"]),
]


@pytest.mark.parametrize(("kind", "spec_of", "layouts"), SPECS, ids=[kind.__name__ for kind, *_ in SPECS])
def test_a_patched_file_is_the_one_that_an_export_of_the_new_weights_writes(
    kind: type[nn.Module],
    spec_of: Callable[[nn.Module, tuple[str, ...]], ExportSpec],
    layouts: list[str],
    tmp_path: Path,
) -> None:
    torch.manual_seed(0)
    model = kind().eval()
    spec = spec_of(model, kind.generated)
    bundle = export_bundle(spec, "tflite", tmp_path / "b")
    assert [slot.layout for slot in bundle.manifest.slots] == layouts
    packs, session = PackFactory(bundle, model), open_session(bundle)
    new = random_weights(bundle, seed=1)
    session.swap(packs.pack(new, version=1))
    assert max_abs_error(session.run(bundle.golden.inputs[0]), [packs.expected(new)]) < EXACT

    changed = copy.deepcopy(model).requires_grad_(False)
    place(changed, new)
    tflite.lower(changed, spec, tmp_path / "again.tflite")
    assert patch(template(bundle), bundle.manifest.slots, new) == (tmp_path / "again.tflite").read_bytes()


def test_equal_layers_would_share_their_bytes_without_sentinels(model: Ranker, tmp_path: Path) -> None:
    frozen = copy.deepcopy(model).requires_grad_(False)
    tflite.lower(frozen, ranker_spec(frozen), tmp_path / "equal.tflite")
    assert torch.equal(frozen.head_in.weight, frozen.head_out.weight)
    assert len(find((tmp_path / "equal.tflite").read_bytes(), frozen.head_in.weight)) == 1


class Halved(nn.Module):
    """A generated Linear times a constant, and a single generated number: exporters multiply both out."""

    generated = ("layer.weight", "layer.bias", "gain")

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.Linear(8, 8), nn.Linear(8, 4)
        self.gain = nn.Parameter(torch.tensor(1.5))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.layer(x) * 0.5) * self.gain)


def vector_spec(model: nn.Module, generated: tuple[str, ...]) -> ExportSpec:
    inputs = ((torch.randn(1, 8),), (torch.randn(1, 8),))
    return ExportSpec("vectors", model, generated, inputs, ("x",), ("scores",))


@pytest.mark.parametrize(
    ("kind", "spec_of", "calls"),
    [(Halved, vector_spec, "FULLY_CONNECTED"), (Normalized, image_spec, "CONV_2D")],
    ids=["halved", "normalized"],
)
def test_what_the_exporter_would_fold_is_kept_apart_in_delegated_layers(
    kind: type[nn.Module], spec_of: Callable[..., ExportSpec], calls: str, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = kind().eval()
    spec = spec_of(model, kind.generated)
    plain = copy.deepcopy(model).requires_grad_(False)
    tflite.lower(plain, spec, tmp_path / "plain.tflite")
    assert not find((tmp_path / "plain.tflite").read_bytes(), plain.get_parameter(kind.generated[0]))

    bundle = export_bundle(spec, "tflite", tmp_path / "b")
    packs, session = PackFactory(bundle, model), open_session(bundle)
    for version, name in enumerate(kind.generated, 1):
        alone = bundle.default_weights | {name: random_weights(bundle, seed=version)[name]}
        session.swap(packs.pack(alone, version))
        assert max_abs_error(session.run(bundle.golden.inputs[0]), [packs.expected(alone)]) < EXACT
    taken = [each.op for each in tflite.nodes(bundle.path / "model.tflite") if each.engine == "XNNPACK"]
    assert calls in taken


def test_what_is_computed_from_parameters_alone_is_computed_on_the_phone(tmp_path: Path) -> None:
    """A barrier does not keep `weight_norm` apart: its parameters meet no input. They are inputs first."""
    torch.manual_seed(0)
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(8, 4))
    names = tuple(name for name, _ in layer.named_parameters())
    bundle = export_bundle(vector_spec(layer.eval(), names), "tflite", tmp_path / "b")
    packs, session = PackFactory(bundle, layer), open_session(bundle)
    for version, name in enumerate(names, 1):
        alone = bundle.default_weights | {name: random_weights(bundle, seed=version)[name]}
        session.swap(packs.pack(alone, version))
        assert max_abs_error(session.run(bundle.golden.inputs[0]), [packs.expected(alone)]) < EXACT


def test_writing_into_a_live_models_bytes_is_no_swap(bundle: Bundle, packs: PackFactory) -> None:
    """XNNPACK has packed the weights by then: the old ones are served on, without an error."""
    data = bytes(bytearray(template(bundle)))
    patched = patch(data, bundle.manifest.slots, bundle.default_weights)
    live = tflite._Interpreter(patched, shapes(bundle), threads=1)
    new = patch(data, bundle.manifest.slots, random_weights(bundle, seed=1))
    address = np.frombuffer(patched, np.uint8).__array_interface__["data"][0]
    ctypes.memmove(address, new, len(new))
    assert patched == new
    outputs = live.run(bundle.golden.inputs[0])
    assert max_abs_error(outputs, [packs.expected(bundle.default_weights)]) < EXACT


def test_another_model_in_its_place_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    model = Separable().eval().requires_grad_(False)
    tflite.lower(model, image_spec(model, model.generated), tmp_path / "other.tflite")
    with pytest.raises(BundleError, match="its manifest says"):
        tflite.load_program(tmp_path / "other.tflite", bundle.manifest)
    with pytest.raises(BundleError, match="cannot load"):
        tflite.load_program(bundle.path / "default.safetensors", bundle.manifest)


OLD_RUNTIME = "MNET_TFLITE_RUNTIME"
RUN_ON_OLD = """
import sys
import numpy as np
from tflite_runtime.interpreter import Interpreter
interpreter = Interpreter(model_path=sys.argv[1], num_threads=1)
interpreter.allocate_tensors()
for details, name in zip(sorted(interpreter.get_input_details(), key=lambda each: each["name"]), sys.argv[3:]):
    interpreter.set_tensor(details["index"], np.load(name))
interpreter.invoke()
np.save(sys.argv[2], interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
"""


@pytest.mark.skipif(
    OLD_RUNTIME not in os.environ,
    reason=f"{OLD_RUNTIME} names no Python with tflite-runtime 2.14 (pip install tflite-runtime==2.14.0 'numpy<2')",
)
def test_a_patched_file_runs_on_the_older_tflite_runtime(
    bundle: Bundle, packs: PackFactory, tmp_path: Path
) -> None:
    new = random_weights(bundle, seed=1)
    (tmp_path / "m.tflite").write_bytes(patch(template(bundle), bundle.manifest.slots, new))
    files = [tmp_path / "out.npy", tmp_path / "0.npy", tmp_path / "1.npy"]
    for file, tensor in zip(files[1:], bundle.golden.inputs[0], strict=True):
        np.save(file, tensor.numpy().astype(np.int32))
    subprocess.run([os.environ[OLD_RUNTIME], "-c", RUN_ON_OLD, tmp_path / "m.tflite", *files], check=True)
    outputs = [torch.from_numpy(np.load(files[0]))]
    assert max_abs_error(outputs, [packs.expected(new)]) < EXACT
