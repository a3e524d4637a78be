"""`mnet export`, `verify` and `bench` as a person calls them: what is printed, and the exit code."""

import hashlib
import json
import shutil
import sys
from pathlib import Path

import pytest

from export.bundle import Bundle
from toolchain.cli.app import main


class Mnet:
    """Runs the command in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def __call__(self, *arguments: object) -> tuple[int, str, str]:
        self._monkeypatch.setattr(sys, "argv", ["mnet", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        code = caught.value.code
        captured = self._capsys.readouterr()
        return (code if isinstance(code, int) else 0), captured.out, captured.err


@pytest.fixture
def mnet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Mnet:
    return Mnet(monkeypatch, capsys)


@pytest.fixture
def copy(bundle: Bundle, tmp_path: Path) -> Path:
    """A copy of the bundle, to be damaged."""
    return Path(shutil.copytree(bundle.path, tmp_path / "copy"))


def test_verify_prints_json_and_nothing_else(mnet: Mnet, bundle: Bundle) -> None:
    code, out, err = mnet("verify", bundle.path, "--json")
    result = json.loads(out)
    assert (code, err) == (0, "")
    assert list(result) == ["ok", "slots", "max_abs_error", "output_change", "tolerance"]
    assert result["ok"] is True
    assert result["slots"] == 4
    assert result["max_abs_error"] < 1e-4 < result["output_change"] / 100


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
    (copy / "manifest.json").write_text(json.dumps(manifest | {"schema": "mnet.bundle/2.0"}))
    mistakes: list[tuple[object, ...]] = [
        ("verify", copy),
        ("bench", copy),
        ("verify", tmp_path / "none"),
        ("bench", tmp_path / "none"),
        ("export", tmp_path / "none", "--target", "android", "-o", tmp_path / "out"),
        ("export", tmp_path / "none", "--target", "toaster", "-o", tmp_path / "out"),
    ]
    for arguments in mistakes:
        code, out, err = mnet(*arguments)
        assert (code, out) == (2, ""), arguments
        assert len([line for line in err.splitlines() if line.startswith("error:")]) == 1
        assert "Traceback" not in err


def test_bench_prints_json_and_draws(mnet: Mnet, bundle: Bundle, tmp_path: Path) -> None:
    code, out, _ = mnet("bench", bundle.path, "--json", "--swaps", 20, "--out", tmp_path / "figures")
    assert code == 0
    assert json.loads(out)["swap"]["count"] == 20
    assert json.loads((tmp_path / "figures" / "bench.json").read_text()) == json.loads(out)
    assert (tmp_path / "figures" / "bench.png").is_file()


def test_bench_prints_a_table(mnet: Mnet, bundle: Bundle) -> None:
    code, out, _ = mnet("bench", bundle.path, "--swaps", 2)
    assert code == 0
    assert "ratio" in out


def test_export_makes_a_bundle_of_a_run_with_a_line_for_each_stage(
    mnet: Mnet, tiny_run: Path, tmp_path: Path
) -> None:
    out = tmp_path / "bundle"
    code, stdout, stderr = mnet("export", tiny_run, "--target", "android", "-o", out)
    made = Bundle.load(out)
    assert code == 0
    assert made.id in stdout
    assert len(stderr.strip().splitlines()) == 6
    checkpoint = hashlib.sha256((tiny_run / "checkpoint.safetensors").read_bytes()).hexdigest()
    assert made.manifest.model.metadata["generator"] == checkpoint
    assert mnet("verify", out)[0] == 0
