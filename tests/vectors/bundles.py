"""Vectors about the bundle: its manifest and its files."""

import json
from collections.abc import Iterator

from mnet.export.format.bundle import Bundle
from mnet.export.format.manifest import MANIFEST_FILE, seal
from tests.vectors.vector import Vector, base64_text


def manifest_vectors(bundle: Bundle, by_bytes: Bundle) -> Iterator[Vector]:
    """Manifests sealed by an exporter, and ones that were changed afterwards."""
    raw = (bundle.path / MANIFEST_FILE).read_bytes()
    content = json.loads(raw)
    del content["id"]

    def vector(name: str, verdict: str, manifest: bytes) -> Vector:
        return {
            "name": f"manifest: {name}",
            "kind": "manifest",
            "manifest": base64_text(manifest),
            "verdict": verdict,
        }

    yield vector("as exported", "accepted", raw)
    yield vector(
        "of a later minor version", "accepted", seal(content | {"schema": "mnet.bundle/2.9", "news": [1]})
    )
    yield vector("of another major version", "bundle_error", seal(content | {"schema": "mnet.bundle/1.0"}))
    yield vector("schema edited", "wrong_hash", raw.replace(b"mnet.bundle/2.0", b"mnet.bundle/3.0"))
    yield vector("a digit changed", "wrong_hash", raw.replace(b'"tolerance":0.0001', b'"tolerance":0.9001'))
    yield vector("a blank added", "wrong_hash", raw.replace(b",", b", ", 1))
    yield vector("cut", "malformed", raw[:-1])
    yield vector("text behind", "malformed", raw + b"x")
    yield vector("a list", "malformed", b"[]")
    yield vector("without a schema", "malformed", seal({k: v for k, v in content.items() if k != "schema"}))
    yield vector("without slots", "bundle_error", seal({k: v for k, v in content.items() if k != "slots"}))
    yield vector("of slots that are bytes", "accepted", (by_bytes.path / MANIFEST_FILE).read_bytes())
    first, *others = content["slots"]
    for name, changed in {
        "packs in bfloat16": {"pack_dtype": "bfloat16"},
        "a slot of an unknown kind": {"binding": {"kind": "wish"}},
        "a slot at a negative place": {"binding": {"kind": "input", "index": -1, "name": "x"}},
        "a slot without a layout": {"layout": None},
    }.items():
        yield vector(name, "bundle_error", seal(content | {"slots": [first | changed, *others]}))
    output, *_ = content["outputs"]
    for name, changed in {
        "an output without a scale": {"scale": None},
        "an output of scale 0": {"scale": 0.0},
        "an output in bfloat16": {"dtype": "bfloat16"},
    }.items():
        yield vector(name, "bundle_error", seal(content | {"outputs": [output | changed]}))
    yield vector("nested deep", "malformed", b"[" * 100_000 + b"]" * 100_000)
    for name, changed in {"count 0": {"count": 0}, "tolerance 0": {"tolerance": 0.0}}.items():
        yield vector(name, "bundle_error", seal(content | {"golden": content["golden"] | changed}))
    outside = content["model"] | {"program": "../model.pte"}
    yield vector("a path out of the folder", "bundle_error", seal(content | {"model": outside}))


def bundle_vectors(bundle: Bundle) -> Iterator[Vector]:
    """The bundle with files changed, added and deleted."""
    program = bundle.manifest.model.program
    data = (bundle.path / program).read_bytes()

    def vector(name: str, verdict: str, files: dict[str, bytes | None]) -> Vector:
        changed = {path: None if value is None else base64_text(value) for path, value in files.items()}
        return {"name": f"bundle: {name}", "kind": "bundle", "files": changed, "verdict": verdict}

    yield vector("as exported", "accepted", {})
    yield vector("the program gone", "missing_file", {program: None})
    yield vector("a file added", "extra_file", {"more.bin": b"1"})
    yield vector("the program cut", "wrong_size", {program: data[:-1]})
    yield vector("one bit of the program flipped", "wrong_hash", {program: data[:-1] + bytes([data[-1] ^ 1])})
    yield vector("no manifest", "bundle_error", {MANIFEST_FILE: None})
