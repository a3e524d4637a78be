"""The native runner against the Python side: the same outputs, the same refusals, the same exit codes."""

import base64
import dataclasses
import hashlib
import json
import shutil
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mnet.export.bench.latency import bench_bundle
from mnet.export.bench.latency_tables import bench_rows
from mnet.export.exporter import export_bundle
from mnet.export.format.bundle import Bundle
from mnet.export.format.errors import BundleError, IntegrityError, Refused
from mnet.export.format.golden import LEAST_CHANGE
from mnet.export.format.manifest import PackDtype, canonical_json, seal
from mnet.export.format.packs import write_pack
from mnet.export.format.probe import distance
from mnet.export.format.slots import pytorch_layout
from mnet.export.session import open_session
from mnet.export.verify import verify_bundle
from mnet.toolchain.attached.native_runner import bench_native
from tests.export.ranker import PackFactory, Ranker, random_weights, ranker_spec
from tests.native.conftest import Program

TOLERANCE = 1e-4
DEEP = "[" * 100_000 + "]" * 100_000
VECTORS = Path(__file__).parents[1] / "vectors"


def narrow_vectors() -> list[dict[str, Any]]:
    """Those of `tests/vectors` about packs in fp16 and int8; what is accepted unrun would fail its self-test."""
    vectors = json.loads((VECTORS / "vectors.json").read_text(encoding="utf-8"))["vectors"]
    packs = [vector for vector in vectors if vector["kind"] in ("pack", "swap") and "bundle" in vector]
    return [
        vector if "packs" in vector else {**vector, "packs": [vector["pack"]]}
        for vector in packs
        if vector["kind"] == "swap" or vector["verdict"] != "accepted"
    ]


NARROW = narrow_vectors()


def save(folder: Path, packs: dict[str, bytes]) -> list[Path]:
    """Each pack in a file of its own, in order."""
    paths = [folder / f"{name}.mnetpack" for name in packs]
    for path, pack in zip(paths, packs.values(), strict=True):
        path.write_bytes(pack)
    return paths


def assert_outputs(served: dict, packs: PackFactory, weights: dict[str, Tensor]) -> None:
    """What the runner serves is what eager PyTorch gives under `weights`, for each golden sample."""
    for k, (scores,) in enumerate(served["outputs"]):
        assert torch.allclose(torch.tensor(scores), packs.expected(weights, k).flatten(), atol=TOLERANCE)


def test_verify_finds_what_python_finds(runner: Program, bundle: Bundle) -> None:
    result = runner("verify", bundle.path, "--json")
    assert result.returncode == 0, result.stderr
    found, expected = json.loads(result.stdout), dataclasses.asdict(verify_bundle(bundle))
    assert found.pop("ok")
    assert found == pytest.approx(expected, abs=TOLERANCE)


def test_a_swap_gives_what_eager_pytorch_gives(
    runner: Program, bundle: Bundle, packs: PackFactory, tmp_path: Path
) -> None:
    weights = [random_weights(bundle, seed) for seed in range(3)]
    versions = {str(k): packs.pack(new, version=k + 1) for k, new in enumerate(weights)}
    result = runner("swap", bundle.path, *save(tmp_path, versions), "--json")
    assert result.returncode == 0, result.stderr
    served = json.loads(result.stdout)
    assert [swap["version"] for swap in served["swaps"]] == [1, 2, 3]
    assert_outputs(served, packs, weights[-1])


def test_slots_in_another_layout_are_written_right(
    runner: Program, convolutions: tuple[Bundle, nn.Module], tmp_path: Path
) -> None:
    bundle, model = convolutions
    packs = PackFactory(bundle, model)
    assert any(slot.layout != pytorch_layout(len(slot.shape)) for slot in bundle.manifest.slots)
    weights = random_weights(bundle, seed=1)
    (path,) = save(tmp_path, {"new": packs.pack(weights, version=1)})
    result = runner("swap", bundle.path, path, "--json")
    assert result.returncode == 0, result.stderr
    assert_outputs(json.loads(result.stdout), packs, weights)


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


def test_a_phone_needs_no_files_of_the_bench(
    runner: Program, bundle: Bundle, packs: PackFactory, tmp_path: Path
) -> None:
    phone = Path(shutil.copytree(bundle.path, tmp_path / "phone"))
    shutil.rmtree(phone / "bench")
    weights = random_weights(bundle, seed=1)
    (path,) = save(tmp_path, {"new": packs.pack(weights, version=1)})
    result = runner("swap", phone, path, "--json")
    assert result.returncode == 0, result.stderr
    assert_outputs(json.loads(result.stdout), packs, weights)
    assert json.loads(runner("verify", phone, "--json").stdout)["reason"] == "missing_file"


def test_what_a_person_can_mend_exits_with_2(runner: Program, bundle: Bundle, tmp_path: Path) -> None:
    for arguments in (
        (),
        ("verify",),
        ("polish", bundle.path),
        ("verify", tmp_path / "none"),
        ("verify", tmp_path),
        ("swap", bundle.path),
        ("swap", bundle.path, tmp_path / "none"),
        ("bench", bundle.path, "--swaps", "0"),
        ("bench", bundle.path, "--faster"),
        ("memory", bundle.path, bundle.path),
    ):
        result = runner(*arguments)
        assert result.returncode == 2, arguments
        assert result.stderr.startswith("mnet-runner: ")
        assert not result.stdout


def test_the_bench_compares_with_eager_pytorch(runner: Program, bundle: Bundle) -> None:
    result = runner("bench", bundle.path, "--swaps", 25, "--json")
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["max_error"] <= TOLERANCE
    assert report["output_change"] >= LEAST_CHANGE * TOLERANCE
    assert report["generated_bytes"] == bundle.manifest.generated_bytes
    assert report["swap"]["count"] == 25
    assert set(report["swap"]["parts"]) == {
        f"{part}_p50_us" for part in ("verify", "write", "self_test", "publish")
    }
    assert {"ratio_p50", "control_ratio_p50"} < set(report["inference"])


def test_a_bundle_of_another_runtime_is_a_users_mistake(
    runner: Program, bundle: Bundle, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(bundle.path, tmp_path / "copy"))
    content = json.loads((copy / "manifest.json").read_bytes()) | {"target": "onnx"}
    del content["id"]
    (copy / "manifest.json").write_bytes(seal(content))
    result = runner("verify", copy)
    assert result.returncode == 2
    assert "target onnx" in result.stderr


@pytest.mark.parametrize("vector", NARROW, ids=lambda vector: vector["name"])
def test_a_narrow_pack_gets_the_verdict_of_every_phone(
    runner: Program, vector: dict[str, Any], tmp_path: Path
) -> None:
    packs = {str(k): base64.b64decode(pack) for k, pack in enumerate(vector["packs"])}
    result = runner("swap", VECTORS / "exported" / vector["bundle"], *save(tmp_path, packs), "--json")
    last = json.loads(result.stdout)["swaps"][-1]
    assert last.get("reason", "accepted") == vector["verdict"]


@pytest.mark.parametrize(("target", "dtype"), [("executorch", "int8"), ("android", "float16")])
def test_narrow_packs_made_in_native_code_are_those_of_python(
    runner: Program, model: Ranker, target: str, dtype: PackDtype, tmp_path: Path
) -> None:
    bundle = export_bundle(replace(ranker_spec(model), pack_dtype=dtype), target, tmp_path / "narrow")
    # 20 packs of the runner's own, each with the output that eager PyTorch gives under weights that Python rounded.
    result = runner("verify", bundle.path, "--json")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["max_error"] <= TOLERANCE


def test_mnet_bench_gives_the_same_figures_in_native_code(
    bundle: Bundle, runner: Program, build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "native").symlink_to(build / "mnet")
    monkeypatch.setattr("mnet.toolchain.attached.native_runner._BUILDS", tmp_path)
    found, here = bench_native(bundle, 2), bench_bundle(bundle, 2).report(bundle)
    assert found.keys() == here.keys()
    parts = ("load", "inference", "swap", "time_to_effect")
    assert all(found[part].keys() == here[part].keys() for part in parts)
    assert [name for name, _ in bench_rows(found)] == [name for name, _ in bench_rows(here)]
    assert found["memory"]["peak"] >= found["memory"]["first_instance"] > found["memory"]["further_instance"]


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


def test_sums_and_hashes_are_those_of_python(build: Path) -> None:
    vectors = json.loads((VECTORS / "vectors.json").read_text(encoding="utf-8"))["vectors"]
    probes = [
        vector
        for vector in vectors
        if vector["kind"] == "probe" and {output["dtype"] for output in vector["outputs"]} == {"float32"}
    ]
    texts = ["", "abc", *("a" * length for length in (55, 56, 63, 64, 65, 119, 120, 1_000_000))]
    lines = [json.dumps(vector) for vector in probes] + [json.dumps({"hash": text}) for text in texts]
    printed = subprocess.run(
        [build / "numbers"], input="\n".join(lines), capture_output=True, text=True, check=True
    )
    answers = [json.loads(line) for line in printed.stdout.splitlines()]
    assert answers[len(probes) :] == [hashlib.sha256(text.encode()).hexdigest() for text in texts]
    for vector, found in zip(probes, answers, strict=False):
        assert (distance(found, vector["probe"]) <= 1e-9) == (vector["verdict"] == "accepted"), vector["name"]
