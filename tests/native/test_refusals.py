"""What the native runner refuses, by the same names as Python: bad packs, damaged bundles, hostile manifests."""

import hashlib
import json
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from mnet.export.format.bundle import Bundle
from mnet.export.format.errors import BundleError, IntegrityError, Refused
from mnet.export.format.manifest import canonical_json, seal
from mnet.export.format.packs import write_pack
from mnet.export.session import open_session
from tests.export.ranker import PackFactory, random_weights
from tests.native.conftest import Program
from tests.native.test_runner import assert_outputs, save

DEEP = "[" * 100_000 + "]" * 100_000


def bad_packs(bundle: Bundle, packs: PackFactory) -> Iterator[tuple[str, bytes]]:
    """Packs for a session that serves version 5, each wrong in one way."""
    weights = random_weights(bundle, seed=9)
    good = packs.pack(weights, version=9)
    header_size = struct.unpack_from("<Q", good)[0]
    header = json.loads(good[8 : 8 + header_size])
    data = good[8 + header_size :]
    metadata = json.loads(header["__metadata__"]["mnet"])

    def with_header(changed: object) -> bytes:
        text = changed if isinstance(changed, bytes) else json.dumps(changed).encode()
        return struct.pack("<Q", len(text)) + text + data

    for length in (0, 4, 8, 20, 8 + header_size, len(good) - 1):
        yield f"cut at {length}", good[:length]
    yield "a byte too many", good + b"\0"
    yield "header length", struct.pack("<Q", 2**64 - 1) + good[8:]
    for name, text in {"list": b"[]", "empty": b"{}", "no UTF-8": b"\xff\xfe", "deep": b"[" * 50_000}.items():
        yield f"header {name}", with_header(text)
    yield "no metadata", with_header({key: value for key, value in header.items() if key != "__metadata__"})

    for name, change in {
        "schema": {"schema": "mnet.pack/1"},
        "negative version": {"version": -1},
        "true version": {"version": True},
        "fraction": {"version": 1.5},
        "text version": {"version": "9"},
        "no probe": {"probe": []},
        "null probe": {"probe": [None]},
        "long probe": {"probe": [0.0] * 17},
        "surprise": {"surprise": 1},
        "no bundle": {"bundle": None},
        "no generator": {"generator": 3},
        "other bundle": {"bundle": "0" * 64},
        "same version": {"version": 5},
        "older version": {"version": 4},
        "version beyond the largest": {"version": 2**31},
        "version of 400 digits": {"version": 10**400},
        "short probe": {"probe": metadata["probe"][:-1]},
        "probe beyond fp32": {"probe": [1e39] * len(metadata["probe"])},
        "one number beyond fp32": {"probe": [1e39]},
        "wrong probe": {"probe": [value + 0.1 for value in metadata["probe"]]},
    }.items():
        yield name, with_header(header | {"__metadata__": {"mnet": json.dumps(metadata | change)}})

    for name, change in {
        "F16": {"dtype": "F16"},
        "unknown dtype": {"dtype": "F31"},
        "shape": {"shape": [8, 32]},
        "negative shape": {"shape": [-16, -16]},
        "huge shape": {"shape": [2**62, 2**62]},
        "small shape": {"shape": [16]},
        "outside": {"data_offsets": [0, 2**40]},
        "backwards": {"data_offsets": [64, 0]},
        "overlap": {"data_offsets": [4, 4 + 1024]},
        "no offsets": {"data_offsets": []},
    }.items():
        tensor = header["head_in.weight"] | change
        yield f"tensor {name}", with_header(header | {"head_in.weight": tensor})

    nested = {"head_in.weight": header["head_in.weight"] | {"shape": "here"}}
    yield "shape nested deep", with_header(json.dumps(header | nested).replace('"here"', DEEP).encode())
    probe = json.dumps(metadata | {"probe": ["here"]}).replace('"here"', DEEP)
    yield "probe nested deep", with_header(header | {"__metadata__": {"mnet": probe}})

    zeros = torch.zeros(2)
    for name, tensors in {
        "missing": {key: value for key, value in weights.items() if key != "head_in.bias"},
        "extra": weights | {"items.weight": zeros},
        "half": weights | {"head_in.weight": weights["head_in.weight"].half()},
        "integers": weights | {"head_in.weight": weights["head_in.weight"].long()},
        "reshaped": weights | {"head_in.weight": weights["head_in.weight"].reshape(8, 32)},
        "shorter": weights | {"head_in.bias": weights["head_in.bias"][:-1]},
        "NaN": weights | {"head_out.weight": weights["head_out.weight"] * torch.nan},
        "infinity": weights | {"head_out.bias": weights["head_out.bias"] / 0},
        "overflow": {key: value * 1e30 for key, value in weights.items()},
    }.items():
        yield (
            f"tensors {name}",
            write_pack(tensors, bundle_id=bundle.id, version=9, generator="", probe=metadata["probe"]),
        )


def test_bad_packs_are_refused_by_the_same_names_while_serving(
    runner: Program, bundle: Bundle, packs: PackFactory, tmp_path: Path
) -> None:
    served = random_weights(bundle, seed=5)
    good, bad = packs.pack(served, version=5), dict(bad_packs(bundle, packs))
    session = open_session(bundle)
    session.swap(good)
    expected = {}
    for name, pack in bad.items():
        try:
            session.swap(pack)
        except Refused as refused:
            expected[name] = str(refused.reason)
        assert name in expected, f"Python takes the pack: {name}"

    result = runner("swap", bundle.path, *save(tmp_path, {"good": good, **bad}), "--json")
    assert result.returncode == 1
    answer = json.loads(result.stdout)
    first, *swaps = answer["swaps"]
    assert first["ok"]
    assert {name: swap.get("reason") for name, swap in zip(bad, swaps, strict=True)} == expected
    assert {swap["version"] for swap in swaps} == {5}
    assert len(set(expected.values())) >= 9
    assert_outputs(answer, packs, served)


def damaged(bundle: Bundle, folder: Path) -> Iterator[Path]:
    """Copies of a bundle, each damaged in one way."""

    def copy(name: str) -> Path:
        return Path(shutil.copytree(bundle.path, folder / name))

    for name in ("manifest.json", *bundle.manifest.files):
        path = copy(f"changed {Path(name).name}") / name
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        yield folder / f"changed {Path(name).name}"
    (copy("cut") / "default.safetensors").write_bytes(b"")
    (copy("missing") / "golden.safetensors").unlink()
    (copy("extra") / "bench" / "notes.txt").write_text("hello")
    link = copy("link") / bundle.manifest.model.program
    link.unlink()
    link.symlink_to(bundle.path / bundle.manifest.model.program)
    (copy("no JSON") / "manifest.json").write_bytes(b"{")
    manifest = copy("schema") / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b"mnet.bundle/2.0", b"mnet.bundle/3.0"))
    yield from (folder / name for name in ("cut", "missing", "extra", "link", "no JSON", "schema"))


def test_a_damaged_bundle_is_found_by_the_same_name(runner: Program, bundle: Bundle, tmp_path: Path) -> None:
    for folder in damaged(bundle, tmp_path):
        with pytest.raises(IntegrityError) as error:
            Bundle.load(folder)
        result = runner("verify", folder, "--json")
        assert result.returncode == 1
        assert json.loads(result.stdout)["reason"] == error.value.reason, folder.name


def test_hostile_manifests_are_refused_and_crash_nothing(
    runner: Program, bundle: Bundle, tmp_path: Path
) -> None:
    content = json.loads((bundle.path / "manifest.json").read_bytes())
    del content["id"]
    nested = seal(content | {"schema": "here"}).replace(b'"here"', DEEP.encode())
    count = canonical_json(content | {"golden": content["golden"] | {"count": "here"}})
    count = count.replace(b'"here"', DEEP.encode())
    sealed = f'"id":"{hashlib.sha256(count).hexdigest()}","inputs":['.encode()
    long_text = "7" * 1_000_000
    files = content["files"] | {"default.safetensors": {"sha256": long_text, "size": 1, "role": "device"}}
    hostile = {
        "nested": (nested, 1),
        "nested count": (count.replace(b'"inputs":[', sealed, 1), 2),
        "long schema": (seal(content | {"schema": f"mnet.bundle/2.{long_text}x"}), 2),
        "long hash": (seal(content | {"files": files}), 2),
        "count 0": (seal(content | {"golden": content["golden"] | {"count": 0}}), 2),
        "tolerance 0": (seal(content | {"golden": content["golden"] | {"tolerance": 0.0}}), 2),
    }
    for name, (manifest, status) in hostile.items():
        copy = Path(shutil.copytree(bundle.path, tmp_path / name))
        (copy / "manifest.json").write_bytes(manifest)
        assert runner("verify", copy).returncode == status, name
        with pytest.raises(IntegrityError if status == 1 else BundleError):
            Bundle.load(copy)


def garbage_in_one(bundle: Bundle, packs: PackFactory) -> Iterator[tuple[str, bytes]]:
    """For each generated parameter: a pack with the right probe, and something else in that parameter alone."""
    good, other = (random_weights(bundle, seed) for seed in (1, 2))
    for name in good:
        garbled = good | {name: other[name]}
        yield name, bundle.pack(garbled, 1, "0" * 64, packs.probe(good))


def test_garbage_in_one_parameter_alone_is_refused(
    runner: Program, bundle: Bundle, packs: PackFactory, tmp_path: Path
) -> None:
    garbled = dict(garbage_in_one(bundle, packs))
    result = runner("swap", bundle.path, *save(tmp_path, garbled), "--json")
    reasons = [swap.get("reason") for swap in json.loads(result.stdout)["swaps"]]
    assert reasons == ["self_test_failed"] * len(bundle.manifest.slots)
