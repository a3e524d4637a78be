"""Vectors about weight packs: by themselves, against their release, and swapped in on the runtime."""

import json
import struct
from collections.abc import Callable, Iterator
from typing import Any

import safetensors.torch
import torch
from joserfc.jwk import ECKey
from torch import Tensor

from mnet.export.format.bundle import Bundle
from mnet.export.format.packs import MAX_VERSION, pack_digest, write_pack
from mnet.export.format.probe import LENGTH
from mnet.toolchain.contract.release import Release, sign_release
from tests.export.ranker import PackFactory, random_weights
from tests.vectors.vector import DEVICE, NOW, Vector, base64_text

Entries = list[dict[str, Any]]


def pack_vectors(bundle: Bundle) -> Iterator[Vector]:
    """Packs as any sender could write them."""
    weights = random_weights(bundle, seed=1)
    first = bundle.manifest.slots[0].parameter

    def vector(name: str, verdict: str, pack: bytes) -> Vector:
        return {"name": f"pack: {name}", "kind": "pack", "pack": base64_text(pack), "verdict": verdict}

    def packed(tensors: dict[str, Tensor], **changed: Any) -> bytes:
        metadata = {
            "schema": "mnet.pack/2",
            "bundle": bundle.id,
            "version": 1,
            "generator": "g",
            "probe": [0.5] * LENGTH,
        }
        return safetensors.torch.save(tensors, {"mnet": json.dumps(metadata | changed)})

    good = packed(weights)
    yield vector("good", "accepted", good)
    yield vector("in another order of tensors", "accepted", _reordered(good))
    yield vector("version 0", "accepted", packed(weights, version=0))
    yield vector("the largest version", "accepted", packed(weights, version=MAX_VERSION))
    yield vector("for another bundle", "wrong_bundle", packed(weights, bundle="0" * 64))
    yield vector("empty", "malformed", b"")
    yield vector("cut in the header", "malformed", good[:40])
    yield vector("cut in the tensors", "malformed", good[:-1])
    yield vector("a byte behind", "malformed", good + b"\0")
    yield vector("header longer than the file", "malformed", struct.pack("<Q", 2**64 - 1) + good[8:])
    yield vector("header a list", "malformed", _with_header(b"[]"))
    yield vector("header without metadata", "malformed", _with_header(b"{}"))
    yield vector("header nested deep", "malformed", _with_header(b"[" * 20_000))
    yield vector("header no UTF-8", "malformed", _with_header(b'{"\xff":1}'))
    yield vector("overlapping tensors", "malformed", _edited(good, _overlap))
    yield vector("a shape of more bytes", "malformed", _edited(good, _larger_shape))
    yield vector("an unknown dtype", "malformed", _edited(good, _unknown_dtype))
    for name, changed in {
        "another schema": {"schema": "mnet.pack/1"},
        "version negative": {"version": -1},
        "version beyond the largest": {"version": MAX_VERSION + 1},
        "version of 400 digits": {"version": 10**400},
        "version true": {"version": True},
        "version as text": {"version": "1"},
        "version with a fraction": {"version": 1.0},
        "no probe": {"probe": []},
        "a probe of 15": {"probe": [0.0] * 15},
        "a probe of 17": {"probe": [0.0] * 17},
        "a probe of texts": {"probe": ["0.5"] * LENGTH},
        "a field more": {"surprise": 1},
        "bundle null": {"bundle": None},
    }.items():
        yield vector(name, "malformed", packed(weights, **changed))
    fewer = {name: tensor for name, tensor in weights.items() if name != first}
    nan = weights[first].clone()
    nan.view(-1)[-1] = torch.nan
    yield vector("a tensor less", "missing_tensor", packed(fewer))
    yield vector("a tensor more", "extra_tensor", packed(weights | {"items.weight": torch.zeros(2)}))
    yield vector("a row less", "wrong_shape", packed(weights | {first: weights[first][:-1].clone()}))
    yield vector("flattened", "wrong_shape", packed(weights | {first: weights[first].flatten()}))
    yield vector("float16", "wrong_dtype", packed(weights | {first: weights[first].half()}))
    yield vector("float64", "wrong_dtype", packed(weights | {first: weights[first].double()}))
    yield vector("a NaN", "not_finite", packed(weights | {first: nan}))
    yield vector("an infinity", "not_finite", packed(weights | {first: weights[first] / 0}))


def install_vectors(bundle: Bundle, key: ECKey) -> Iterator[Vector]:
    """A good release with what may come in place of its pack."""
    weights = random_weights(bundle, seed=2)
    good = write_pack(weights, bundle_id=bundle.id, version=7, generator="g", probe=[0.5] * LENGTH)
    release = Release(DEVICE, bundle.id, 7, pack_digest(good), len(good), NOW, NOW + 60)
    jws = sign_release(key, release)

    def vector(name: str, verdict: str, pack: bytes) -> Vector:
        fields = {"jws": jws, "pack": base64_text(pack)}
        return {"name": f"install: {name}", "kind": "install", **fields, "verdict": verdict}

    yield vector("the pack released", "accepted", good)
    yield vector("cut short", "wrong_size", good[:-4])
    yield vector("a byte more", "wrong_size", good + b"\0")
    yield vector("one bit flipped", "wrong_hash", good[:-1] + bytes([good[-1] ^ 1]))


def swap_vectors(bundle: Bundle, factory: PackFactory) -> Iterator[Vector]:
    """Packs swapped in one after the other, of which the last is judged."""
    weights = [random_weights(bundle, seed) for seed in (3, 4)]
    first, second = (factory.pack(each, version) for version, each in enumerate(weights, start=1))

    def vector(name: str, verdict: str, *packs: bytes) -> Vector:
        return {
            "name": f"swap: {name}",
            "kind": "swap",
            "packs": [base64_text(p) for p in packs],
            "verdict": verdict,
        }

    tolerance = bundle.manifest.golden.tolerance

    def claiming(probe: list[float], version: int = 3) -> bytes:
        return write_pack(weights[1], bundle_id=bundle.id, version=version, generator="g", probe=probe)

    before, truth = (factory.probe(each) for each in weights)
    yield vector("one", "accepted", first)
    yield vector("two in order", "accepted", first, second)
    yield vector("the same again", "stale_version", first, first)
    yield vector("rolled back", "stale_version", second, first)
    yield vector("the default weights", "stale_version", bundle.default_pack())
    yield vector("one sum off", "self_test_failed", first, claiming([truth[0] + 0.01, *truth[1:]]))
    yield vector("outputs of the version before", "self_test_failed", first, claiming(before))
    yield vector(
        "a sum off by half of what it may be", "accepted", first, claiming(_moved(truth, 0.5 * tolerance))
    )
    yield vector(
        "a sum off by twice what it may be", "self_test_failed", first, claiming(_moved(truth, 2 * tolerance))
    )
    # Read as fp32 it is infinite, and so would be what a sum may be off by.
    yield vector("a probe beyond fp32", "self_test_failed", first, claiming([1e39] * LENGTH))
    yield vector("one number beyond fp32", "self_test_failed", first, claiming([*truth[1:], 1e39]))
    for name, default in bundle.default_weights.items():
        stale = factory.probe(weights[1] | {name: default})
        yield vector(f"{name} left at its default", "self_test_failed", first, claiming(stale))


def _moved(probe: list[float], share: float) -> list[float]:
    """The probe with its first number moved by a share of its size."""
    return [probe[0] + share * max(1.0, *map(abs, probe)), *probe[1:]]


def _with_header(header: bytes) -> bytes:
    return struct.pack("<Q", len(header)) + header


def _edited(pack: bytes, edit: Callable[[Entries], None]) -> bytes:
    (length,) = struct.unpack_from("<Q", pack)
    header = json.loads(pack[8 : 8 + length])
    edit([entry for name, entry in header.items() if name != "__metadata__"])
    return _with_header(json.dumps(header).encode()) + pack[8 + length :]


def _overlap(entries: Entries) -> None:
    width = entries[1]["data_offsets"][1] - entries[1]["data_offsets"][0]
    entries[1]["data_offsets"] = [entries[0]["data_offsets"][0], entries[0]["data_offsets"][0] + width]


def _larger_shape(entries: Entries) -> None:
    entries[0]["shape"][0] += 1


def _unknown_dtype(entries: Entries) -> None:
    entries[0]["dtype"] = "F31"


def _reordered(pack: bytes) -> bytes:
    """The same pack with its header's entries the other way round."""
    (length,) = struct.unpack_from("<Q", pack)
    header = json.loads(pack[8 : 8 + length])
    return _with_header(json.dumps(dict(reversed(header.items()))).encode()) + pack[8 + length :]
