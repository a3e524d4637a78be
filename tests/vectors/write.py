"""Write the vectors that every implementation of the phone must judge alike: `python -m tests.vectors.write`.

`bundle/` is a real Android bundle of a tiny model. `vectors.json` names the phone (device, pinned keys, time) and lists
the vectors: what a hostile, broken or ordinary network could bring, with the verdict (`accepted`, the name of a
refusal, or `bundle_error`). Bytes are base64. Kinds, by what is judged:

    release   jws, newer_than, now (null: no expiry)        the signed statement alone
    pack      pack                                          the pack against the bundle, without running it
    install   jws, pack                                     the pack against its release
    swap      packs                                         the last of packs swapped in one after the other
    manifest  manifest                                      the bytes of `manifest.json`
    bundle    files (path -> bytes, null: deleted)          the bundle with these files changed

The signing key is made for the run and thrown away.
"""

import base64
import json
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from joserfc import jws as jose_jws
from joserfc import jwt
from joserfc.jwk import ECKey
from torch import Tensor

from export.bundle import Bundle
from export.exporter import export_bundle
from export.manifest import MANIFEST_FILE, seal
from export.packs import pack_digest, probe_values, write_pack
from tests.export.ranker import PackFactory, Ranker, random_weights, ranker_spec
from toolchain.cloud.keys import public_keys
from toolchain.cloud.release import Release, sign_release

FOLDER = Path(__file__).parent
NOW = 1_800_000_000
DEVICE = "0123456789abcdef"
Vector = dict[str, Any]


def main() -> None:
    """Export the bundle anew and write the vectors for it."""
    bundle, model = _export()
    signing, other = (ECKey.generate_key("P-256", {"kid": kid}, auto_kid=False) for kid in ("key-1", "key-2"))
    phone = {"device": DEVICE, "keys": public_keys(signing), "now": NOW}
    factory = PackFactory(bundle, model)
    vectors = [
        *_releases(bundle, signing, other),
        *_packs(bundle),
        *_installs(bundle, signing),
        *_swaps(bundle, factory),
        *_manifests(bundle),
        *_bundles(bundle),
    ]
    content = {"phone": phone, "vectors": vectors}
    (FOLDER / "vectors.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    bad = sum(vector["verdict"] != "accepted" for vector in vectors)
    print(f"{len(vectors)} vectors, {bad} of them bad")


def _export() -> tuple[Bundle, Ranker]:
    torch.manual_seed(0)
    model = Ranker(items=50, width=4).eval()
    shutil.rmtree(FOLDER / "bundle", ignore_errors=True)
    return export_bundle(ranker_spec(model), "android", FOLDER / "bundle"), model


def _releases(bundle: Bundle, key: ECKey, other: ECKey) -> Iterator[Vector]:
    good = Release(DEVICE, bundle.id, 7, "0f" * 32, 4096, NOW, NOW + 60)
    claims = _claims(sign_release(key, good))

    def vector(name: str, verdict: str, jws: str, newer_than: int = 6, now: int | None = NOW) -> Vector:
        fields = {"jws": jws, "newer_than": newer_than, "now": now}
        return {"name": f"release: {name}", "kind": "release", **fields, "verdict": verdict}

    def signed(header: dict[str, Any] | None = None, payload: bytes | None = None, **changed: Any) -> str:
        header = {"alg": "ES256", "kid": key.kid, **(header or {})}
        if payload is None:
            payload = json.dumps({**claims, **changed}).encode()
        lax = jose_jws.JWSRegistry(strict_check_header=False)
        return jose_jws.serialize_compact(header, payload, key, algorithms=["ES256"], registry=lax)

    jws = sign_release(key, good)
    header, payload, signature = jws.split(".")
    yield vector("good", "accepted", jws)
    yield vector("first version", "accepted", signed(version=1), newer_than=0)
    yield vector("a claim more", "accepted", signed(note="läßt grüßen"))
    yield vector("no kid, one pinned key", "accepted", _without_kid(key, claims))
    yield vector("expired, kept since before", "accepted", signed(exp=NOW - 1), now=None)
    yield vector("of another device", "wrong_device", signed(sub="another"))
    yield vector("of another bundle", "wrong_bundle", signed(bundle="c" * 64))
    yield vector("the version served", "stale_version", signed(version=6))
    yield vector("an older version", "stale_version", signed(version=2))
    yield vector("expired this second", "expired", signed(exp=NOW))
    for name, changed in {
        "version as text": {"version": "8"},
        "version true": {"version": True},
        "version with a fraction": {"version": 8.0},
        "version 0": {"version": 0},
        "size negative": {"size": -1},
        "sha256 upper case": {"sha256": "0F" * 32},
        "sha256 a path": {"sha256": "../../etc/passwd"},
        "no device": {"sub": None},
        "exp no number": {"exp": "never"},
    }.items():
        yield vector(name, "malformed", signed(**changed))
    yield vector("payload a list", "malformed", signed(payload=b"[1, 2]"))
    yield vector("payload no JSON", "malformed", signed(payload=b"{'sub': 1}"))
    yield vector(
        "payload with rubbish behind", "malformed", signed(payload=json.dumps(claims).encode() + b" x")
    )
    yield vector(
        "payload with a comment", "malformed", signed(payload=b"/* */" + json.dumps(claims).encode())
    )
    yield vector("payload empty", "malformed", signed(payload=b""))
    missing = {claim: value for claim, value in claims.items() if claim != "sha256"}
    yield vector("no sha256", "malformed", signed(payload=json.dumps(missing).encode()))
    unsigned = _base64url(b'{"alg":"none"}')
    symmetric = _base64url(json.dumps({"alg": "HS256", "kid": key.kid}).encode())
    forged = {
        "by another key": jwt.encode({"alg": "ES256", "kid": other.kid}, claims, other),
        "by another key under our kid": jwt.encode({"alg": "ES256", "kid": key.kid}, claims, other),
        "alg none": f"{unsigned}.{payload}.",
        "alg none, signature kept": f"{unsigned}.{payload}.{signature}",
        "alg HS256": f"{symmetric}.{payload}.{signature}",
        "an unknown header entry": signed({"b65": False}),
        "claims changed": f"{header}.{_base64url(json.dumps(claims | {'version': 99}).encode())}.{signature}",
        "signature cut": jws[:-8],
        "signature of zeros": f"{header}.{payload}.{_base64url(bytes(64))}",
        "signature in DER's length": f"{header}.{payload}.{_base64url(bytes(range(1, 71)))}",
        "signature padded": f"{jws}==",
        "signature missing": f"{header}.{payload}",
        "a fourth part": f"{jws}.e30",
        "header no JSON": f"{_base64url(b'alg: ES256')}.{payload}.{signature}",
        "empty": "",
        "not base64url": f"{header}.{payload[:-1]}*.{signature}",
    }
    for name, text in forged.items():
        yield vector(name, "bad_signature", text)


def _packs(bundle: Bundle) -> Iterator[Vector]:
    weights = random_weights(bundle, seed=1)
    first = bundle.manifest.slots[0].parameter

    def vector(name: str, verdict: str, pack: bytes) -> Vector:
        return {"name": f"pack: {name}", "kind": "pack", "pack": _base64(pack), "verdict": verdict}

    def packed(tensors: dict[str, Tensor], **changed: Any) -> bytes:
        metadata = {
            "schema": "mnet.pack/1",
            "bundle": bundle.id,
            "version": 1,
            "generator": "g",
            "probe": [0.5],
        }
        return safetensors.torch.save(tensors, {"mnet": json.dumps(metadata | changed)})

    good = packed(weights)
    yield vector("good", "accepted", good)
    yield vector("in another order of tensors", "accepted", _reordered(good))
    yield vector("version 0", "accepted", packed(weights, version=0))
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
        "another schema": {"schema": "mnet.pack/2"},
        "version negative": {"version": -1},
        "version true": {"version": True},
        "version as text": {"version": "1"},
        "version with a fraction": {"version": 1.0},
        "no probe": {"probe": []},
        "a probe of 17": {"probe": [0.0] * 17},
        "a probe of texts": {"probe": ["0.5"]},
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


def _installs(bundle: Bundle, key: ECKey) -> Iterator[Vector]:
    weights = random_weights(bundle, seed=2)
    good = write_pack(weights, bundle_id=bundle.id, version=7, generator="g", probe=[0.5])
    release = Release(DEVICE, bundle.id, 7, pack_digest(good), len(good), NOW, NOW + 60)
    jws = sign_release(key, release)

    def vector(name: str, verdict: str, pack: bytes) -> Vector:
        fields = {"jws": jws, "pack": _base64(pack)}
        return {"name": f"install: {name}", "kind": "install", **fields, "verdict": verdict}

    yield vector("the pack released", "accepted", good)
    yield vector("cut short", "wrong_size", good[:-4])
    yield vector("a byte more", "wrong_size", good + b"\0")
    yield vector("one bit flipped", "wrong_hash", good[:-1] + bytes([good[-1] ^ 1]))


def _swaps(bundle: Bundle, factory: PackFactory) -> Iterator[Vector]:
    weights = [random_weights(bundle, seed) for seed in (3, 4)]
    first, second = (factory.pack(each, version) for version, each in enumerate(weights, start=1))

    def vector(name: str, verdict: str, *packs: bytes) -> Vector:
        return {
            "name": f"swap: {name}",
            "kind": "swap",
            "packs": [_base64(p) for p in packs],
            "verdict": verdict,
        }

    def claiming(probe: list[float], version: int = 3) -> bytes:
        return write_pack(weights[1], bundle_id=bundle.id, version=version, generator="g", probe=probe)

    before, truth = (probe_values(factory.expected(each)) for each in weights)
    yield vector("one", "accepted", first)
    yield vector("two in order", "accepted", first, second)
    yield vector("the same again", "stale_version", first, first)
    yield vector("rolled back", "stale_version", second, first)
    yield vector("the default weights", "stale_version", bundle.default_pack())
    yield vector("one output off", "self_test_failed", first, claiming([truth[0] + 0.01, *truth[1:]]))
    yield vector("outputs of the version before", "self_test_failed", first, claiming(before))
    yield vector("a probe too short", "self_test_failed", first, claiming(truth[:3]))


def _manifests(bundle: Bundle) -> Iterator[Vector]:
    raw = (bundle.path / MANIFEST_FILE).read_bytes()
    content = json.loads(raw)
    del content["id"]

    def vector(name: str, verdict: str, manifest: bytes) -> Vector:
        return {
            "name": f"manifest: {name}",
            "kind": "manifest",
            "manifest": _base64(manifest),
            "verdict": verdict,
        }

    yield vector("as exported", "accepted", raw)
    yield vector(
        "of a later minor version", "accepted", seal(content | {"schema": "mnet.bundle/1.9", "news": [1]})
    )
    yield vector("of another major version", "bundle_error", seal(content | {"schema": "mnet.bundle/2.0"}))
    yield vector("schema edited", "wrong_hash", raw.replace(b"mnet.bundle/1.0", b"mnet.bundle/2.0"))
    yield vector("a digit changed", "wrong_hash", raw.replace(b'"tolerance":0.0001', b'"tolerance":0.9001'))
    yield vector("a blank added", "wrong_hash", raw.replace(b",", b", ", 1))
    yield vector("cut", "malformed", raw[:-1])
    yield vector("text behind", "malformed", raw + b"x")
    yield vector("a list", "malformed", b"[]")
    yield vector("without a schema", "malformed", seal({k: v for k, v in content.items() if k != "schema"}))
    yield vector("without slots", "bundle_error", seal({k: v for k, v in content.items() if k != "slots"}))
    outside = content["model"] | {"program": "../model.pte"}
    yield vector("a path out of the folder", "bundle_error", seal(content | {"model": outside}))


def _bundles(bundle: Bundle) -> Iterator[Vector]:
    program = bundle.manifest.model.program
    data = (bundle.path / program).read_bytes()

    def vector(name: str, verdict: str, files: dict[str, bytes | None]) -> Vector:
        changed = {path: None if value is None else _base64(value) for path, value in files.items()}
        return {"name": f"bundle: {name}", "kind": "bundle", "files": changed, "verdict": verdict}

    yield vector("as exported", "accepted", {})
    yield vector("the program gone", "missing_file", {program: None})
    yield vector("a file added", "extra_file", {"more.bin": b"1"})
    yield vector("the program cut", "wrong_size", {program: data[:-1]})
    yield vector("one bit of the program flipped", "wrong_hash", {program: data[:-1] + bytes([data[-1] ^ 1])})
    yield vector("no manifest", "bundle_error", {MANIFEST_FILE: None})


def _claims(jws: str) -> dict[str, Any]:
    payload = jws.split(".")[1]
    return dict(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))))


def _without_kid(key: ECKey, claims: dict[str, Any]) -> str:
    return jwt.encode({"alg": "ES256"}, claims, key)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _with_header(header: bytes) -> bytes:
    return struct.pack("<Q", len(header)) + header


def _edited(pack: bytes, edit: Any) -> bytes:
    (length,) = struct.unpack_from("<Q", pack)
    header = json.loads(pack[8 : 8 + length])
    edit([entry for name, entry in header.items() if name != "__metadata__"])
    return _with_header(json.dumps(header).encode()) + pack[8 + length :]


def _overlap(entries: list[dict[str, Any]]) -> None:
    width = entries[1]["data_offsets"][1] - entries[1]["data_offsets"][0]
    entries[1]["data_offsets"] = [entries[0]["data_offsets"][0], entries[0]["data_offsets"][0] + width]


def _larger_shape(entries: list[dict[str, Any]]) -> None:
    entries[0]["shape"][0] += 1


def _unknown_dtype(entries: list[dict[str, Any]]) -> None:
    entries[0]["dtype"] = "F31"


def _reordered(pack: bytes) -> bytes:
    """The same pack with its header's entries the other way round."""
    (length,) = struct.unpack_from("<Q", pack)
    header = json.loads(pack[8 : 8 + length])
    return _with_header(json.dumps(dict(reversed(header.items()))).encode()) + pack[8 + length :]


if __name__ == "__main__":
    main()
