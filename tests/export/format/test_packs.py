import json
import struct
from collections.abc import Callable

import pytest
import safetensors.torch
import torch
from torch import Tensor

from mnet.export.format.bundle import Bundle
from mnet.export.format.errors import Reason, Refused
from mnet.export.format.packs import pack_digest, read_pack, write_pack
from tests.export.ranker import PackFactory, random_weights


@pytest.fixture
def weights(bundle: Bundle) -> dict[str, Tensor]:
    return random_weights(bundle, seed=1)


def refusal(data: bytes, bundle: Bundle) -> Reason:
    with pytest.raises(Refused) as caught:
        read_pack(data, bundle.manifest)
    assert caught.value.detail
    return caught.value.reason


def test_a_pack_comes_back_as_written(bundle: Bundle, packs: PackFactory, weights: dict[str, Tensor]) -> None:
    pack = read_pack(packs.pack(weights, version=7), bundle.manifest)
    assert pack.version == 7
    assert list(pack.parameters) == [slot.parameter for slot in bundle.manifest.slots]
    assert all(torch.equal(pack.parameters[name], weights[name]) for name in weights)
    assert list(pack.probe) == packs.probe(weights)
    assert len(pack.probe) == 16


def test_equal_weights_give_equal_bytes_in_any_order(weights: dict[str, Tensor]) -> None:
    arguments = {"bundle_id": "b" * 64, "version": 3, "generator": "c" * 64, "probe": [0.1, -2.0] * 8}
    one = write_pack(weights, **arguments)  # type: ignore[arg-type]
    other = write_pack(dict(reversed(weights.items())), **arguments)  # type: ignore[arg-type]
    assert one == other
    assert pack_digest(one) == pack_digest(other)


def test_a_probe_must_be_finite(weights: dict[str, Tensor]) -> None:
    with pytest.raises(ValueError, match="float"):
        write_pack(weights, bundle_id="b", version=1, generator="g", probe=[float("nan")] * 16)


def test_every_truncation_is_malformed(
    bundle: Bundle, packs: PackFactory, weights: dict[str, Tensor]
) -> None:
    data = packs.pack(weights, version=1)
    for length in range(0, len(data), 37):
        assert refusal(data[:length], bundle) is Reason.MALFORMED
    assert refusal(data + b"\0", bundle) is Reason.MALFORMED


@pytest.mark.parametrize(
    "metadata",
    [
        {"schema": "mnet.pack/1"},
        {"version": -1},
        {"version": True},
        {"version": "1"},
        {"probe": []},
        {"probe": [None]},
        {"probe": [0.0] * 15},
        {"probe": [0.0] * 17},
        {"surprise": 1},
        {"bundle": None},
    ],
)
def test_wrong_metadata_is_malformed(
    bundle: Bundle, weights: dict[str, Tensor], metadata: dict[str, object]
) -> None:
    right = {"schema": "mnet.pack/2", "bundle": bundle.id, "version": 1, "generator": "", "probe": [0.0] * 16}
    data = safetensors.torch.save(weights, {"mnet": json.dumps(right)})
    assert read_pack(data, bundle.manifest).version == 1
    assert (
        refusal(safetensors.torch.save(weights, {"mnet": json.dumps(right | metadata)}), bundle)
        is Reason.MALFORMED
    )


@pytest.mark.parametrize("header", [b"[]", b"{}", b'{"__metadata__":1}', b"[" * 50_000, b"\xff\xfe"])
def test_a_strange_header_is_malformed(bundle: Bundle, header: bytes) -> None:
    assert refusal(struct.pack("<Q", len(header)) + header, bundle) is Reason.MALFORMED


def test_a_header_longer_than_the_file_is_malformed(bundle: Bundle) -> None:
    assert refusal(struct.pack("<Q", 2**64 - 1) + b"{}", bundle) is Reason.MALFORMED


def without(name: str) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda weights: {key: value for key, value in weights.items() if key != name}


def with_(name: str, change: Callable[[Tensor], Tensor]) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda weights: weights | {name: change(weights.get(name, torch.zeros(2)))}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (without("head_in.bias"), Reason.MISSING_TENSOR),
        (with_("items.weight", torch.clone), Reason.EXTRA_TENSOR),
        (with_("head_in.bias", lambda value: value[:-1]), Reason.WRONG_SHAPE),
        (with_("head_in.weight", lambda value: value.reshape(8, 32)), Reason.WRONG_SHAPE),
        (with_("head_in.weight", torch.Tensor.half), Reason.WRONG_DTYPE),
        (with_("head_in.weight", torch.Tensor.double), Reason.WRONG_DTYPE),
        (with_("head_out.bias", lambda value: value / 0), Reason.NOT_FINITE),
        (with_("head_out.weight", lambda value: torch.full_like(value, torch.nan)), Reason.NOT_FINITE),
    ],
)
def test_tensors_that_do_not_fit_are_refused_by_name(
    bundle: Bundle,
    weights: dict[str, Tensor],
    change: Callable[[dict[str, Tensor]], dict[str, Tensor]],
    reason: Reason,
) -> None:
    data = write_pack(change(weights), bundle_id=bundle.id, version=1, generator="", probe=[0.0] * 16)
    assert refusal(data, bundle) is reason


def test_another_bundles_pack_is_refused(bundle: Bundle, weights: dict[str, Tensor]) -> None:
    data = write_pack(weights, bundle_id="0" * 64, version=1, generator="", probe=[0.0] * 16)
    assert refusal(data, bundle) is Reason.WRONG_BUNDLE
