"""ONNX Runtime's silent failures: each is reproduced, and then shown not to get through."""

import gc
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from onnxruntime import InferenceSession, LoraAdapter, RunOptions
from torch import Tensor

import mnet.export.targets.onnx as onnx_target
from mnet.export.format.bundle import Bundle
from mnet.export.format.errors import BundleError, Reason, Refused
from mnet.export.format.golden import max_abs_error
from mnet.export.lowering.target import Run
from mnet.export.session import Session, open_session
from tests.export.ranker import PackFactory, Ranker, random_weights, ranker_bundle

EXACT = 1e-4


@pytest.fixture(scope="module")
def bundle(model: Ranker, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return ranker_bundle(tmp_path_factory, model, "onnx")


class Bare:
    """ONNX Runtime itself, without what `mnet.export.targets.onnx` does around it."""

    def __init__(self, bundle: Bundle, folder: Path) -> None:
        self.session = InferenceSession(str(bundle.path / "model.onnx"))
        self.file = folder / "weights.onnx_adapter"
        self.adapter: LoraAdapter | None = None
        names = [info.name for info in bundle.manifest.inputs]
        self.feeds = {
            name: tensor.numpy() for name, tensor in zip(names, bundle.golden.inputs[0], strict=True)
        }

    def options(self, weights: Mapping[str, Tensor]) -> RunOptions:
        onnx_target.write_adapter(weights, self.file)
        self.adapter = LoraAdapter()
        self.adapter.Load(str(self.file))
        options = RunOptions()
        options.add_active_adapter(self.adapter)
        return options

    def run(self, options: RunOptions | None) -> Tensor:
        return torch.from_numpy(self.session.run(None, self.feeds, options)[0])


@pytest.fixture
def bare(bundle: Bundle, tmp_path: Path) -> Bare:
    return Bare(bundle, tmp_path)


def test_the_slots_are_overridable_initializers_in_pytorchs_layout(bundle: Bundle, bare: Bare) -> None:
    found = {each.name: tuple(each.shape) for each in bare.session.get_overridable_initializers()}
    assert found == {slot.parameter: slot.shape for slot in bundle.manifest.slots}
    assert [slot.binding.model_dump() for slot in bundle.manifest.slots] == [
        {"kind": "initializer", "name": slot.parameter} for slot in bundle.manifest.slots
    ]
    assert [slot.layout for slot in bundle.manifest.slots] == ["OI", "O", "OI", "O"]


def test_without_an_adapter_no_version_is_served_but_nan(bare: Bare) -> None:
    assert bare.run(None).isnan().all()


def test_an_adapter_that_lacks_any_one_parameter_gives_nan(bundle: Bundle, bare: Bare) -> None:
    weights = random_weights(bundle, seed=1)
    assert bare.run(bare.options(weights)).isfinite().all()
    for name in weights:
        partial = {other: value for other, value in weights.items() if other != name}
        assert bare.run(bare.options(partial)).isnan().all()


def test_an_adapter_is_never_written_without_every_slot(bundle: Bundle) -> None:
    program = onnx_target.load_program(bundle.path / "model.onnx", bundle.manifest)
    weights = random_weights(bundle, seed=1)
    del weights["head_out.bias"]
    with pytest.raises(KeyError, match=r"head_out\.bias"):
        program.bind(weights)


def test_a_freed_adapter_gives_nan_and_a_run_keeps_its_own(
    bundle: Bundle, bare: Bare, packs: PackFactory
) -> None:
    weights = random_weights(bundle, seed=1)
    options = bare.options(weights)
    expected = packs.expected(weights)
    assert max_abs_error([bare.run(options)], [expected]) < EXACT
    bare.adapter = None
    gc.collect()
    assert bare.run(options).isnan().all()

    run = onnx_target.load_program(bundle.path / "model.onnx", bundle.manifest).bind(weights)
    gc.collect()
    assert max_abs_error(run(bundle.golden.inputs[0]), [expected]) < EXACT


def test_a_mapped_file_that_is_overwritten_changes_outputs_and_ours_has_no_name(
    bundle: Bundle, bare: Bare, monkeypatch: pytest.MonkeyPatch, packs: PackFactory
) -> None:
    weights, other = random_weights(bundle, seed=1), random_weights(bundle, seed=2)
    options = bare.options(weights)
    onnx_target.write_adapter(other, bare.file.with_suffix(".other"))
    with bare.file.open("r+b") as file:
        file.write(bare.file.with_suffix(".other").read_bytes())
    assert max_abs_error([bare.run(options)], [packs.expected(other)]) < EXACT

    written: list[Path] = []
    write: Callable[[Mapping[str, Tensor], Path], None] = onnx_target.write_adapter

    def spy(values: Mapping[str, Tensor], path: Path) -> None:
        written.append(path)
        write(values, path)

    monkeypatch.setattr(onnx_target, "write_adapter", spy)
    session = open_session(bundle)
    for version in range(1, 4):
        session.swap(packs.pack(random_weights(bundle, seed=version), version))
    assert len(set(written)) == 4
    assert not any(path.exists() for path in written)


class Forgetful:
    """A program that frees its adapters, or hands over a part of the weights only."""

    def __init__(self, bundle: Bundle, keep: int) -> None:
        self._program = onnx_target.load_program(bundle.path / "model.onnx", bundle.manifest)
        self._slots = dict(self._program._slots)
        self.keep = keep

    def bind(self, parameters: Mapping[str, Tensor]) -> Run:
        self._program._slots = dict(list(self._slots.items())[: self.keep])
        return self._program.bind(parameters)


@pytest.mark.parametrize("keep", range(4))
def test_a_session_refuses_a_swap_whose_adapter_is_partial(
    bundle: Bundle, packs: PackFactory, keep: int
) -> None:
    program = Forgetful(bundle, keep=4)
    session = Session(bundle, program, bundle.default_weights)
    before = session.run(bundle.golden.inputs[0])[0]
    program.keep = keep
    with pytest.raises(Refused) as caught:
        session.swap(packs.pack(random_weights(bundle, seed=1), version=1))
    assert caught.value.reason is Reason.SELF_TEST_FAILED
    assert torch.equal(session.run(bundle.golden.inputs[0])[0], before)


def test_nothing_of_the_exporting_machine_is_in_the_files(bundle: Bundle) -> None:
    for name in ("model.onnx", "bench/baked.onnx"):
        content = (bundle.path / name).read_bytes()
        assert str(Path(__file__).parent).encode() not in content
        assert b"stack_trace" not in content
        assert b".py" not in content


def test_another_model_in_its_place_is_refused(bundle: Bundle) -> None:
    with pytest.raises(BundleError, match="its manifest says"):
        onnx_target.load_program(bundle.path / "bench" / "baked.onnx", bundle.manifest)
    with pytest.raises(BundleError, match="cannot load"):
        onnx_target.load_program(bundle.path / "default.safetensors", bundle.manifest)
