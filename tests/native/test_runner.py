"""The native runner against the Python side: the same outputs, the same refusals, the same exit codes."""

import base64
import dataclasses
import hashlib
import json
import shutil
import subprocess
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
from mnet.export.format.golden import LEAST_CHANGE
from mnet.export.format.manifest import PackDtype, seal
from mnet.export.format.probe import distance
from mnet.export.format.slots import pytorch_layout
from mnet.export.verify import verify_bundle
from mnet.toolchain.attached.native_runner import bench_native
from tests.export.ranker import PackFactory, Ranker, random_weights, ranker_spec
from tests.native.conftest import Program

TOLERANCE = 1e-4
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
    assert [name for name, _ in bench_rows(found)] == [
        name for name, _ in bench_rows(here | {"memory": found["memory"]})
    ]
    assert found["memory"]["peak"] >= found["memory"]["first_instance"] > found["memory"]["further_instance"]


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
