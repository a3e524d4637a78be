"""Target `android`: which weights are inputs and which bytes, and that either way a swap is a swap."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import mnet.export.targets.android as android
from mnet.export.bench.growth import shapes, sweep_spec
from mnet.export.exporter import export_bundle
from mnet.export.format.bundle import Bundle
from mnet.export.format.errors import BundleError
from mnet.export.format.golden import max_abs_error
from mnet.export.format.slots import KEY_SIZE, BytesBinding, patch, place
from mnet.export.lowering.bindings import choose_binding
from mnet.export.lowering.quantization import with_base
from mnet.export.lowering.xnnpack_inputs import cheapest_binding
from mnet.export.session import open_session
from tests.export.models import ConvNet, Separable, image_spec
from tests.export.ranker import PackFactory, Ranker, random_weights, ranker_spec

EXACT = 1e-4


def swap_five_times(bundle: Bundle, model: nn.Module) -> None:
    packs, session = PackFactory(bundle, model), open_session(bundle)
    for version in range(1, 6):
        weights = random_weights(bundle, seed=version)
        session.swap(packs.pack(weights, version))
        assert max_abs_error(session.run(bundle.golden.inputs[0]), [packs.expected(weights)]) < EXACT


def test_a_generated_pointwise_convolution_is_handed_over_as_a_linear(tmp_path: Path) -> None:
    model = Separable().eval()
    bundle = export_bundle(image_spec(model, model.generated), "android", tmp_path / "b")
    first = bundle.manifest.slots[0]
    assert first.binding.kind == "input"
    assert (first.parameter, first.shape, first.layout) == ("last.weight", (16, 8, 1, 1), "OI")
    taken = [node for node in android.nodes(bundle.path / "model.pte") if node.engine == "XNNPACK"]
    assert [node.op for node in taken].count("FullyConnected") == 2
    swap_five_times(bundle, model)


@pytest.fixture(scope="module")
def by_bytes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, ConvNet, list[str]]:
    """A bundle with generated convolutions of every kind, and the lines that its export printed."""
    torch.manual_seed(0)
    model, stages = ConvNet().eval(), list[str]()
    out = tmp_path_factory.mktemp("android") / "b"
    return export_bundle(image_spec(model, model.generated), "android", out, stages.append), model, stages


def test_other_convolutions_are_bytes_of_the_file_and_the_export_says_why(
    by_bytes: tuple[Bundle, ConvNet, list[str]],
) -> None:
    bundle, model, stages = by_bytes
    assert {slot.binding.kind for slot in bundle.manifest.slots} == {"bytes"}
    assert "weights by bytes: XNNPACK takes no Conv2d as an input (conv.weight)" in stages[1]
    swap_five_times(bundle, model)


def test_a_patched_file_is_the_one_that_an_export_of_the_new_weights_writes_keys_included(
    by_bytes: tuple[Bundle, ConvNet, list[str]],
) -> None:
    bundle, model, _ = by_bytes
    new = random_weights(bundle, seed=1)
    changed = with_base(model, model.generated, "float32")
    changed.register_forward_hook(lambda *call: (call[-1],))  # as an export does
    place(changed, new)
    exported, slots = android._lower_with_bytes(changed, image_spec(model, model.generated))
    template = (bundle.path / "model.pte").read_bytes()
    patched = patch(template, bundle.manifest.slots, new)
    assert slots == bundle.manifest.bound_by([BytesBinding]).slots
    assert patched == exported
    for slot in slots:
        for key in BytesBinding.of(slot).keys:
            assert patched[key : key + KEY_SIZE] != template[key : key + KEY_SIZE]
    assert sum(bool(BytesBinding.of(slot).keys) for slot in slots) >= 4


def test_the_rule_weighs_packing_against_the_inference() -> None:
    small = cheapest_binding(ranker_spec(Ranker()))
    assert small.binding == "input"
    assert small.why.startswith("weights by input: packing them adds 0.5 µs to an inference of about")
    wide = cheapest_binding(ranker_spec(Ranker(width=256)))
    assert wide.binding == "bytes"
    assert wide.why.startswith(
        "weights by bytes: packing them as inputs would add 18.8 µs to an inference of"
    )
    asked = choose_binding(ranker_spec(Ranker(width=256), binding="input"), "android", android.TARGET)
    assert asked.binding == "input"


@pytest.mark.parametrize("axis", ["base", "history", "batch"])
def test_the_same_layer_is_an_input_where_the_inference_is_long(axis: str) -> None:
    """As measured: 64 KB add 42 % to an inference of 6 µs, and nothing that one would find to one of 100 µs."""
    short, *_, long = (cheapest_binding(sweep_spec(shape)).binding for shape in shapes(axis))
    assert (short, long) == ("bytes", "input")


class Strided(nn.Module):
    """A 1x1 convolution that is no Linear of each pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1, stride=2)

    def forward(self, image: Tensor) -> Tensor:
        return self.conv(image).mean((2, 3))


@pytest.mark.parametrize(("kind", "name"), [(ConvNet, "conv.weight"), (Strided, "conv.weight")])
def test_what_cannot_be_an_input_is_refused_with_the_way_out(
    kind: type[nn.Module], name: str, tmp_path: Path
) -> None:
    model = kind().eval()
    spec = image_spec(model, (name,), binding="input")
    with pytest.raises(
        BundleError, match=r"belongs to a Conv2d; as inputs, .*take binding bytes, or generate another"
    ):
        export_bundle(spec, "android", tmp_path / "b")
