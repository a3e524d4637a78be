"""`mnet export`, `verify` and `bench` as a person calls them: what is printed, and the exit code."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest

from mnet.export.exporter import export_bundle
from mnet.export.format.bundle import Bundle
from mnet.export.targets import target_names
from mnet.toolchain.report.measured import measured_page
from tests.export.ranker import Ranker, ranker_spec
from tests.mnet_command import Mnet


@pytest.fixture
def copy(bundle: Bundle, tmp_path: Path) -> Path:
    """A copy of the bundle, to be damaged."""
    return Path(shutil.copytree(bundle.path, tmp_path / "copy"))


def test_verify_prints_json_and_nothing_else(mnet: Mnet, bundle: Bundle) -> None:
    code, out, err = mnet("verify", bundle.path, "--json")
    result = json.loads(out)
    assert (code, err) == (0, "")
    assert list(result) == ["ok", "slots", "packs", "max_error", "output_change", "tolerance"]
    assert result["ok"] is True
    assert result["slots"] == 4
    assert result["max_error"] < 1e-4 < result["output_change"] / 10


def test_verify_names_what_is_wrong_with_each_damaged_file(mnet: Mnet, copy: Path) -> None:
    files = [path for path in copy.rglob("*") if path.is_file()]
    assert len(files) == 7
    for path in files:
        good = path.read_bytes()
        middle = len(good) // 2
        path.write_bytes(good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :])
        code, out, _ = mnet("verify", copy, "--json")
        result = json.loads(out)
        assert (code, result["ok"], result["reason"]) == (1, False, "wrong_hash")
        assert path.name in result["detail"]
        path.write_bytes(good)
    assert mnet("verify", copy)[0] == 0


def test_verify_tells_a_person_too(mnet: Mnet, copy: Path) -> None:
    (copy / "model.pte").unlink()
    code, out, err = mnet("verify", copy)
    assert (code, out) == (1, "")
    assert "missing_file" in err
    assert len(err.strip().splitlines()) == 1


def test_a_users_mistakes_are_one_line_and_exit_code_2(mnet: Mnet, copy: Path, tmp_path: Path) -> None:
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps(manifest | {"schema": "mnet.bundle/3.0"}))
    mistakes: list[tuple[object, ...]] = [
        ("verify", copy),
        ("bench", copy),
        ("verify", tmp_path / "none"),
        ("bench", tmp_path / "none"),
        ("export", tmp_path / "none", "--target", "android", "-o", tmp_path / "out"),
        ("export", tmp_path / "none", "--target", "toaster", "-o", tmp_path / "out"),
        ("export", tmp_path / "none", "--target", "onnx", "--pack-dtype", "bf16", "-o", tmp_path / "out"),
        ("export", tmp_path / "none", "--target", "onnx", "--quantize", "int4", "-o", tmp_path / "out"),
        ("evaluate", tmp_path / "none", "--bundle", tmp_path / "none"),
        ("evaluate", tmp_path / "none", tmp_path / "other", "--bundle", tmp_path / "none"),
    ]
    for arguments in mistakes:
        code, out, err = mnet(*arguments)
        assert (code, out) == (2, ""), arguments
        assert len([line for line in err.splitlines() if line.startswith("error:")]) == 1
        assert "Traceback" not in err


def test_bench_prints_json_and_draws(mnet: Mnet, bundle: Bundle, tmp_path: Path) -> None:
    code, out, _ = mnet("bench", bundle.path, "--json", "--swaps", 20, "--out", tmp_path / "figures")
    assert code == 0
    assert [report["swap"]["count"] for report in json.loads(out)] == [20]
    (kept,) = json.loads((tmp_path / "figures" / "bench.json").read_text())
    assert kept.pop("made")["version"]
    assert [kept] == json.loads(out)
    (section,) = measured_page([tmp_path / "figures"], []).sections
    assert section.tables[0].header[1].startswith(kept["model"])
    assert (tmp_path / "figures" / "bench.png").is_file()


def test_bench_prints_a_column_for_each_bundle(mnet: Mnet, bundle: Bundle) -> None:
    code, out, _ = mnet("bench", bundle.path, bundle.path, "--swaps", 2)
    assert code == 0
    assert out.count(bundle.manifest.runtime.version) == 2
    (control,) = (line for line in out.splitlines() if "control" in line)
    assert len([cell for cell in control.split("  ") if cell.strip()]) == 3


def test_bench_says_what_a_place_lacks(
    mnet: Mnet, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("mnet.toolchain.attached.native_runner._BUILDS", tmp_path)
    for place, lack in (("native", "make native"), ("adb", "adb is not installed")):
        code, out, err = mnet("bench", bundle.path, "--on", place)
        assert (code, out) == (2, "")
        assert lack in err


def test_export_makes_a_bundle_of_a_run_with_a_line_for_each_stage(
    mnet: Mnet, tiny_run: Path, tmp_path: Path
) -> None:
    out = tmp_path / "bundle"
    code, stdout, stderr = mnet("export", tiny_run, "--target", "android", "-o", out)
    made = Bundle.load(out)
    assert code == 0
    assert made.id in stdout
    assert len(stderr.strip().splitlines()) == 9
    checkpoint = hashlib.sha256((tiny_run / "checkpoint.safetensors").read_bytes()).hexdigest()
    assert made.manifest.model.metadata["generator"] == checkpoint
    assert mnet("verify", out)[0] == 0


def test_packs_of_int8_serve_a_run_on_its_artifact(mnet: Mnet, tiny_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    code, stdout, _ = mnet("export", tiny_run, "--target", "android", "--pack-dtype", "int8", "-o", out)
    made = Bundle.load(out)
    assert code == 0
    assert f"{len(made.default_pack()):,} a push" in stdout
    assert set(made.manifest.pack_dtypes.values()) == {"int8", "float32"}
    code, stdout, _ = mnet("evaluate", tiny_run, "--bundle", out, "--packs", 20, "--json")
    assert code == 0
    report = json.loads(stdout)
    assert 0 < report["packs"] <= 20
    assert set(report["metrics"]) == {"eager", "artifact"}
    code, stdout, _ = mnet("evaluate", tiny_run, "--bundle", out, "--packs", 5)
    assert code == 0
    assert "each swapped in with its self-test" in stdout


def test_targets_lists_what_there_is(mnet: Mnet) -> None:
    code, out, _ = mnet("targets", "--json")
    rows = {row["target"]: row for row in json.loads(out)}
    assert code == 0
    assert set(rows) == set(target_names())
    assert {name for name, row in rows.items() if row["here"] == "checks"} == {"ios"}
    assert rows["ios"]["bindings"] == ["input", "state"]
    assert {name for name, row in rows.items() if "int8" in row["base"]} == {"tflite"}
    assert rows["tflite"]["install"] == "mnet-mobile[tflite]"
    assert mnet("targets")[0] == 0


def test_inspect_shows_slots_and_who_runs_which_operation(mnet: Mnet, bundle: Bundle) -> None:
    code, out, err = mnet("inspect", bundle.path, "--json")
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert [slot["parameter"] for slot in found["slots"]] == list(bundle.default_weights)
    assert {"method": "forward", "engine": "XNNPACK", "op": "FullyConnected", "count": 2} in found["nodes"]
    assert {"method": "forward", "engine": "portable kernels", "op": "embedding", "count": 2} in found[
        "nodes"
    ]
    profile = found["profile"]
    assert profile["kernels_us"].keys() >= {"embedding", "mean"}
    assert 0 < sum(profile["kernels_us"].values()) < profile["inference_us"]
    people = mnet("inspect", bundle.path)[1]
    assert "FullyConnected x2" in people
    assert re.search(r"embedding x2 \(\d+\.\d µs\)", people)
    assert re.search(r"no delegate runs takes \d+\.\d of \d+\.\d µs of an inference here, \d+%", people)
    assert "16 x 16" in people


def test_inspect_shows_a_pack(mnet: Mnet, bundle: Bundle, tmp_path: Path) -> None:
    pack = tmp_path / "pack.safetensors"
    pack.write_bytes(bundle.golden_pack(version=7))
    code, out, _ = mnet("inspect", pack, "--json")
    found = json.loads(out)
    assert (code, found["version"], found["bundle"]) == (0, 7, bundle.id)
    assert found["pack"] == hashlib.sha256(pack.read_bytes()).hexdigest()
    assert [tensor["bytes"] for tensor in found["tensors"]] == [
        bundle.default_weights[tensor["parameter"]].nbytes for tensor in found["tensors"]
    ]
    assert "version 7" in mnet("inspect", pack)[1]


def test_what_cannot_be_inspected_is_one_line(mnet: Mnet, bundle: Bundle, tmp_path: Path) -> None:
    for path, named in ((tmp_path / "none", "none"), (bundle.path / "model.pte", "no weight pack")):
        code, out, err = mnet("inspect", path)
        assert (code, out) == (2, "")
        assert named in err
        assert "Traceback" not in err


def test_a_target_that_is_only_checked_here_is_not_timed(mnet: Mnet, model: Ranker, tmp_path: Path) -> None:
    export_bundle(ranker_spec(model), "ios", tmp_path / "b")
    code, out, err = mnet("bench", tmp_path / "b")
    assert (code, out) == (2, "")
    assert "target ios does not run here" in err
    assert "checker" in mnet("verify", tmp_path / "b")[1]


def test_matrix_writes_a_row_for_each_run_and_target(mnet: Mnet, tiny_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "matrix"
    code, stdout, _ = mnet("matrix", tiny_run, "--target", "onnx", "--swaps", 2, "--out", out, "--json")
    (cell,) = json.loads(stdout)
    assert code == 0
    assert (cell["target"], cell["packs"]) == ("onnx", 25)
    (kept,) = json.loads((out / "matrix.json").read_text())
    assert kept.pop("made")["version"]
    assert kept == cell
    assert "| onnx |" in (out / "matrix.md").read_text()
    assert Bundle.load(out / f"{cell['model'].replace('/', '-')}-onnx").manifest.target == "onnx"
