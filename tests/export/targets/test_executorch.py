"""ExecuTorch's silent failures: each is reproduced, and then shown not to get through."""

import copy
import gc
import itertools
import re
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import mnet.export.targets.executorch as split
from mnet.export.bench.latency import bench_bundle
from mnet.export.exporter import export_bundle
from mnet.export.format.bundle import Bundle
from mnet.export.format.errors import BundleError
from mnet.export.format.golden import max_abs_error
from mnet.export.format.slots import BytesBinding, find, patch, place, stored
from mnet.export.lowering.spec import ExportSpec
from mnet.export.lowering.tracing import trace
from mnet.export.session import open_session
from mnet.export.verify import verify_bundle
from tests.export.ranker import GENERATED, PackFactory, Ranker, random_weights, ranker_bundle, ranker_spec

EXACT = 1e-4


@pytest.fixture(scope="module")
def bundle(model: Ranker, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return ranker_bundle(tmp_path_factory, model, "executorch")


def bindings(bundle: Bundle) -> list[BytesBinding]:
    return [BytesBinding.of(slot) for slot in bundle.manifest.slots]


def test_the_slots_are_bytes_of_the_template_that_hold_the_sentinels(bundle: Bundle) -> None:
    template = (bundle.path / "model.ptd").read_bytes()
    for slot, binding in zip(bundle.manifest.slots, bindings(bundle), strict=True):
        assert binding.file == "model.ptd"
        held = template[binding.offset : binding.offset + binding.size]
        assert held == stored(bundle.golden.weights[slot.parameter], slot.layout)


def test_no_slot_is_shared_though_the_layers_start_equal(bundle: Bundle, model: Ranker) -> None:
    """Equal constants are stored once: without sentinels, two layers would share their bytes."""
    frozen = copy.deepcopy(model).requires_grad_(False)
    spec = ranker_spec(frozen)
    _, weights = split._lower(split._split(trace(frozen, spec.inputs[0]), spec), GENERATED)
    assert torch.equal(frozen.head_in.weight, frozen.head_out.weight)
    assert len(find(weights, frozen.head_in.weight)) == 1

    ranges = sorted((binding.offset, binding.offset + binding.size) for binding in bindings(bundle))
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(ranges))


def test_head_is_what_depends_on_generated_parameters_and_encode_the_rest(bundle: Bundle) -> None:
    """`encode` gives the mean of the history and the candidates' vectors; `head` needs no embedding."""
    program = split._open((bundle.path / "model.pte").read_bytes())
    encode = program.method_meta("encode")
    shapes = [encode.output_tensor_meta(index).sizes() for index in range(encode.num_outputs())]
    assert sorted(shapes) == [(1, 16), (1, 20, 16)]
    assert program.method_meta("head").num_inputs() == 4
    assert split._method_names((bundle.path / "bench" / "baked.pte").read_bytes()) == {"forward"}


class Direct(nn.Module):
    """Has nothing to do before its generated layer, and needs its input again after it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) + x


def test_a_model_that_starts_with_its_generated_layer_has_no_encode(tmp_path: Path) -> None:
    inputs = ((torch.randn(1, 8),), (torch.randn(1, 8),))
    spec = ExportSpec("direct", Direct().eval(), ("layer.weight",), inputs, ("x",), ("y",))
    bundle = export_bundle(spec, "executorch", tmp_path / "b")
    assert verify_bundle(bundle).max_error < EXACT
    assert split._method_names((bundle.path / "model.pte").read_bytes()) == {"head"}


class Passing(nn.Module):
    """Has an output that no generated parameter changes, so `head` only hands it on."""

    def __init__(self) -> None:
        super().__init__()
        self.base, self.layer = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        first, second = torch.split(self.base(x), 4, -1)
        return self.layer(torch.cat([second, first], -1)), first * second


def test_an_output_of_encode_may_be_one_of_the_models(tmp_path: Path) -> None:
    inputs = ((torch.randn(1, 8),), (torch.randn(1, 8),))
    model = Passing().eval()
    spec = ExportSpec("passing", model, ("layer.weight",), inputs, ("x",), ("changed", "same"))
    bundle = export_bundle(spec, "executorch", tmp_path / "b")
    outputs = open_session(bundle).run(inputs[1])
    assert max_abs_error(outputs, model(*inputs[1])) < EXACT


def test_a_layer_may_have_a_number_for_a_name(tmp_path: Path) -> None:
    """A traced graph cannot call a node so; the parameter must be known by its own name all the same."""
    inputs = ((torch.randn(1, 8),), (torch.randn(1, 8),))
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8)).eval()
    spec = ExportSpec("numbers", model, ("0.weight", "2.bias"), inputs, ("x",), ("y",))
    assert verify_bundle(export_bundle(spec, "executorch", tmp_path / "b")).max_error < EXACT


class Scaled(Ranker):
    """Generates what XNNPACK does not take: the scale of a LayerNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(16)

    def forward(self, history: Tensor, candidates: Tensor) -> Tensor:
        hidden = self.norm(self.items(history).mean(1))
        return (self.items(candidates) @ hidden.unsqueeze(-1)).squeeze(-1)


def test_a_parameter_outside_of_the_delegate_is_swapped_too(tmp_path: Path) -> None:
    model = Scaled().eval()
    bundle = export_bundle(ranker_spec(model, ("norm.weight", "norm.bias")), "executorch", tmp_path / "b")
    packs, session = PackFactory(bundle, model), open_session(bundle)
    for version in range(1, 4):
        weights = random_weights(bundle, seed=version)
        session.swap(packs.pack(weights, version))
        gc.collect()
        assert max_abs_error(session.run(bundle.golden.inputs[0]), [packs.expected(weights)]) < EXACT


class Ignoring(Ranker):
    """Never calls one of its generated layers."""

    def forward(self, history: Tensor, candidates: Tensor) -> Tensor:
        return (self.items(candidates) @ self.head_in(self.items(history).mean(1)).unsqueeze(-1)).squeeze(-1)


def test_an_unused_parameter_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"head_out.weight, moved alone, changes the outputs by only 0.0e"):
        export_bundle(ranker_spec(Ignoring()), "executorch", tmp_path / "b")


def half_of(template: bytes) -> bytes:
    """The same `.ptd` with every parameter cut to half its size, but for its key."""
    from executorch.exir._serialize._cord import Cord
    from executorch.extension.flat_tensor.serialize.serialize import FlatTensorConfig, FlatTensorSerializer

    serializer = FlatTensorSerializer(FlatTensorConfig())
    payload = serializer.deserialize(Cord(template))
    payload.buffers = [bytes(buffer)[: len(bytes(buffer)) // 2] for buffer in payload.buffers]
    return bytes(serializer.serialize(payload))


def test_half_a_blob_is_loaded_by_the_runtime_and_refused_by_us(bundle: Bundle, tmp_path: Path) -> None:
    whole = (bundle.path / "model.ptd").read_bytes()
    half = tmp_path / "half.ptd"
    half.write_bytes(half_of(whole))
    split._Method((bundle.path / "model.pte").read_bytes(), "head", half)  # no error

    weights = bundle.default_weights
    slots = bundle.manifest.slots
    assert len(patch(whole, slots, weights)) == len(whole)
    with pytest.raises(BundleError, match=r"head_out.bias has 64 bytes, its slot 64 at \d+ of"):
        patch(whole[: bindings(bundle)[3].offset + 32], slots, weights)
    short = weights | {"head_in.weight": weights["head_in.weight"][:8]}
    with pytest.raises(BundleError, match=r"head_in.weight has 512 bytes, its slot 1024"):
        patch(whole, slots, short)


def test_new_weights_do_not_come_from_a_cache_while_old_ones_live(bundle: Bundle, packs: PackFactory) -> None:
    """XNNPACK's weight cache, where it is on, finds the old packed weights by name."""
    program = split.load_program(bundle.path / "model.pte", bundle.manifest)
    versions = [random_weights(bundle, seed=seed) for seed in range(5)]
    runs = [program.bind(weights) for weights in versions]
    for weights, run in zip(versions, runs, strict=True):
        assert max_abs_error(run(bundle.golden.inputs[0]), [packs.expected(weights)]) < EXACT


def test_a_run_needs_nothing_that_was_dropped(bundle: Bundle, packs: PackFactory) -> None:
    """The library owns neither the program's bytes nor, once it has mapped it, the file of the weights."""
    weights = random_weights(bundle, seed=1)
    run = split.load_program(bundle.path / "model.pte", bundle.manifest).bind(weights)
    gc.collect()
    _ = [bytearray(5_000_000) for _ in range(20)]
    assert max_abs_error(run(bundle.golden.inputs[0]), [packs.expected(weights)]) < EXACT


def test_a_patched_template_is_the_file_that_an_export_of_the_new_weights_writes(
    bundle: Bundle, model: Ranker
) -> None:
    """The strongest test of a slot table. The keys differ: they are hashes of what was exported."""
    new = random_weights(bundle, seed=1)
    changed = copy.deepcopy(model).requires_grad_(False)
    place(changed, new)
    spec = ranker_spec(changed)
    _, exported = split._lower(split._split(trace(changed, spec.inputs[0]), spec), GENERATED)
    patched = patch((bundle.path / "model.ptd").read_bytes(), bundle.manifest.slots, new)
    key = re.compile(b"[0-9a-f]{64}")
    assert len(key.findall(patched)) == len(key.findall(exported)) == len(GENERATED)
    assert key.sub(b"", patched) == key.sub(b"", exported)


def test_another_file_in_its_place_is_refused(bundle: Bundle) -> None:
    with pytest.raises(BundleError, match="cannot load"):
        split.load_program(bundle.path / "default.safetensors", bundle.manifest)


def test_a_bench_also_times_a_module_from_new_files(bundle: Bundle) -> None:
    effects = bench_bundle(bundle, swaps=5).effects_s
    assert {way: len(seconds) for way, seconds in effects.items()} == {
        "swap": 5,
        "whole_model": 2,
        "reload": 2,
    }
