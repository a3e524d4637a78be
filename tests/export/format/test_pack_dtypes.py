import dataclasses
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from mnet.export.exporter import export_bundle
from mnet.export.format.bundle import Bundle
from mnet.export.format.errors import BundleError, Reason, Refused
from mnet.export.format.golden import TOLERANCE, Reference
from mnet.export.format.manifest import PackDtype
from mnet.export.format.pack_dtypes import (
    choose_pack_dtypes,
    dequantized,
    find_pack_dtype,
    narrowed,
    quantized,
    rounded,
    widened,
)
from mnet.export.format.packs import read_pack, write_pack
from mnet.export.session import open_session
from mnet.export.verify import verify_bundle
from tests.export.ranker import Ranker, random_weights, ranker_spec

WEIGHTS = {
    "matrix": torch.randn(5, 7, generator=torch.Generator().manual_seed(1)),
    "convolution": torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(2)) * 1e-3,
    "bias": torch.randn(6, generator=torch.Generator().manual_seed(3)) * 1e3,
}


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_rounding_twice_is_rounding_once(dtype: PackDtype) -> None:
    dtypes = choose_pack_dtypes(WEIGHTS, dtype)
    once, again = narrowed(WEIGHTS, dtypes), narrowed(rounded(WEIGHTS, dtypes), dtypes)
    assert once.keys() == again.keys()
    assert all(torch.equal(once[name], again[name]) for name in once)


def test_int8_is_off_by_half_a_step_of_its_channel() -> None:
    value = WEIGHTS["matrix"].clone()
    value[2] = 0
    integers, scale = quantized(value)
    assert integers.dtype == torch.int8
    assert integers.abs().max() == 127
    assert (scale / (value.abs().amax(1) / 127))[[0, 1, 3, 4]].allclose(torch.ones(4), rtol=1e-3)
    assert ((dequantized(integers, scale) - value).abs() <= scale[:, None] / 2 + 1e-9).all()
    assert torch.equal(dequantized(integers, scale)[2], value[2])


def test_vectors_stay_fp32_in_an_int8_pack() -> None:
    tensors = narrowed(WEIGHTS, choose_pack_dtypes(WEIGHTS, "int8"))
    assert {name: str(tensor.dtype) for name, tensor in tensors.items()} == {
        "matrix": "torch.int8",
        "matrix:scale": "torch.float32",
        "convolution": "torch.int8",
        "convolution:scale": "torch.float32",
        "bias": "torch.float32",
    }
    assert torch.equal(tensors["bias"], WEIGHTS["bias"])


def test_a_table_with_one_number_a_row_is_fp16_in_an_int8_pack() -> None:
    assert choose_pack_dtypes({"items": torch.randn(5, 1)}, "int8") == {"items": "float16"}, (
        "a scale a row is more"
    )


def test_what_fp16_cannot_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="head is too large for fp16"):
        narrowed({"head": torch.tensor([[1e6]])}, {"head": "float16"})


def test_an_unknown_pack_dtype_is_told() -> None:
    with pytest.raises(BundleError, match="unknown pack dtype 'bf16'; known ones: fp32, fp16, int8"):
        find_pack_dtype("bf16")


@pytest.fixture(scope="module", params=["float16", "int8"])
def bundle(request: pytest.FixtureRequest, model: Ranker, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The ranker for Android, whose packs travel narrower than its slots are."""
    spec = dataclasses.replace(ranker_spec(model), pack_dtype=request.param)
    return export_bundle(spec, "android", tmp_path_factory.mktemp("narrow") / "bundle")


def test_a_narrow_bundle_does_what_eager_does_with_the_rounded_weights(bundle: Bundle, model: Ranker) -> None:
    assert verify_bundle(bundle).max_error < TOLERANCE
    weights, sample = random_weights(bundle, seed=4), bundle.golden.inputs[1]
    reference = Reference(model)
    as_rounded = rounded(weights, bundle.manifest.pack_dtypes)
    session = open_session(bundle)
    session.swap(
        bundle.pack(weights, 1, "test", bundle.probe(reference.outputs(as_rounded, bundle.golden.inputs[0])))
    )
    (actual,) = session.run(sample)
    torch.testing.assert_close(actual, reference.outputs(as_rounded, sample)[0], atol=1e-5, rtol=1e-5)
    assert (actual - reference.outputs(weights, sample)[0]).abs().max() > 10 * TOLERANCE


def test_a_push_is_smaller(bundle: Bundle) -> None:
    weights = bundle.default_weights
    wide = write_pack(weights, bundle_id=bundle.id, version=0, generator="default", probe=[0.0] * 16)
    narrow = sum(tensor.nbytes for tensor in narrowed(weights, bundle.manifest.pack_dtypes).values())
    saved = bundle.manifest.generated_bytes - narrow
    # The header names more tensors and other digits of a probe.
    assert len(bundle.default_pack()) < len(wide) - saved + 500
    assert narrow < bundle.manifest.generated_bytes * 0.51


def test_the_default_pack_holds_the_default_weights(bundle: Bundle) -> None:
    read = read_pack(bundle.default_pack(), bundle.manifest)
    assert all(torch.equal(read.parameters[name], value) for name, value in bundle.default_weights.items())


def in_fp32(tensors: dict[str, Tensor], dtypes: dict[str, PackDtype]) -> dict[str, Tensor]:
    return widened(tensors, dtypes)


def with_infinity(tensors: dict[str, Tensor], dtypes: dict[str, PackDtype]) -> dict[str, Tensor]:
    name = "head_in.weight:scale" if "head_in.weight:scale" in tensors else "head_in.weight"
    return tensors | {name: tensors[name] / 0}


@pytest.mark.parametrize(
    ("change", "reasons"),
    [(in_fp32, {Reason.WRONG_DTYPE, Reason.MISSING_TENSOR}), (with_infinity, {Reason.NOT_FINITE})],
)
def test_a_pack_of_another_dtype_is_refused_by_name(
    bundle: Bundle,
    change: Callable[[dict[str, Tensor], dict[str, PackDtype]], dict[str, Tensor]],
    reasons: set[Reason],
) -> None:
    dtypes = bundle.manifest.pack_dtypes
    tensors = change(narrowed(bundle.default_weights, dtypes), dtypes)
    probe = bundle.probe(bundle.golden.default[0])
    pack = write_pack(tensors, bundle_id=bundle.id, version=1, generator="", probe=probe)
    with pytest.raises(Refused) as caught:
        open_session(bundle).swap(pack)
    assert caught.value.reason in reasons


def test_a_pack_that_lacks_a_tensor_is_refused(bundle: Bundle) -> None:
    tensors = narrowed(bundle.default_weights, bundle.manifest.pack_dtypes)
    last = max(tensors)  # of int8, the scale of a matrix
    del tensors[last]
    pack = write_pack(tensors, bundle_id=bundle.id, version=1, generator="", probe=[0.0] * 16)
    with pytest.raises(Refused, match=f"missing_tensor: no tensor {last}"):
        open_session(bundle).swap(pack)
