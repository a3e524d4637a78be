import json
import os
import sys
from pathlib import Path

import pytest

from mnet.export.format.bundle import Bundle
from mnet.toolchain.attached.android_app import put_into_app
from mnet.toolchain.errors import UserError
from mnet.toolchain.training.run import read_config
from tests.cli.test_mistakes import assert_mistake, mnet


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """A folder with the one file that makes it the demo."""
    manifest = tmp_path / "app" / "src" / "main" / "AndroidManifest.xml"
    manifest.parent.mkdir(parents=True)
    manifest.write_text("<manifest/>")
    return tmp_path


def test_the_app_carries_what_a_phone_needs(tiny_run: Path, tiny_bundle: Path, app: Path) -> None:
    bundle, data = Bundle.load(tiny_bundle), read_config(tiny_run).data
    assets = put_into_app(bundle, data, app)
    (assets / "bundle" / "stale").touch()
    put_into_app(bundle, data, app)
    found = {
        path.relative_to(assets / "bundle").as_posix()
        for path in (assets / "bundle").rglob("*")
        if path.is_file()
    }
    assert found == {"manifest.json"} | {
        name for name, file in bundle.manifest.files.items() if file.role == "device"
    }
    for name in found:
        assert (assets / "bundle" / name).read_bytes() == (tiny_bundle / name).read_bytes()


def test_the_titles_of_the_items_come_along(tiny_run: Path, tiny_bundle: Path, app: Path) -> None:
    data = read_config(tiny_run).data
    assert data.path is not None
    items = data.path.parent / "u.item"
    try:
        items.write_text("".join(f"{film}|Film {film}|\n" for film in range(1, 301)), encoding="latin-1")
        assets = put_into_app(Bundle.load(tiny_bundle), data, app)
    finally:
        items.unlink()
    titles = json.loads((assets / "catalogue.json").read_bytes())["titles"]
    assert titles[:2] == ["Film 1", "Film 2"]
    assert len(titles) == 300


def test_another_folder_is_no_app(tiny_run: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not the Android demo"):
        put_into_app(Bundle.load(tiny_bundle), read_config(tiny_run).data, tmp_path / "none")


def test_without_adb_there_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert_mistake(mnet("push", "--adb", tmp_path), "adb is not installed")


# adb with one phone: /data/local/tmp and the app's own folder lie below ROOT; the app answers what ROOT/answer says.
STAND_IN = """\
#!{python}
import pathlib, shutil, sys
root = pathlib.Path({root!r})
words = sys.argv[1:]
if words == ["devices"]:
    print("List of devices attached\\nemulator-5554\\tdevice")
    sys.exit()
assert words[:2] == ["-s", "emulator-5554"], words
place = lambda path: root / path.lstrip("/")
match words[2:]:
    case ["push", source, target]:
        (shutil.copytree if pathlib.Path(source).is_dir() else shutil.copy)(source, place(target))
    case ["shell", "am", "broadcast", *_]:
        taken = sorted(str(path.relative_to(root)) for path in (root / "app").rglob("*") if path.is_file())
        (root / "taken").write_text("\\n".join(taken))
        print((root / "answer").read_text())
    case ["shell", "am", "instrument", *_]:
        report = root / "report"
        if report.is_file():
            shutil.copy(report, root / "app/files/bench/report.json")
        print((root / "answer").read_text())
    case ["shell", "run-as", "mnet.app", "cat", file]:
        print((root / "app" / file).read_text())
    case ["shell", "getprop" | "cat" | "dumpsys", *_]:
        sys.exit(1)
    case ["shell", "run-as", "mnet.app", "cp", "-r", source, target]:
        target = root / "app" / target / pathlib.Path(source).name
        (shutil.copytree if place(source).is_dir() else shutil.copy)(place(source), target)
    case ["shell", *command]:
        path = root / "app" / command[-1] if command[0] == "run-as" else place(command[-1])
        shutil.rmtree(path, ignore_errors=True) if "rm" in command else path.mkdir(parents=True)
"""


TIMES = {"p50_us": 1.0, "p90_us": 2.0, "p99_us": 3.0}
PARTS = ("verify_p50_us", "write_p50_us", "self_test_p50_us", "publish_p50_us")


@pytest.fixture
def phone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the stand-in for a phone at the cable."""
    root, adb = tmp_path / "phone", tmp_path / "bin" / "adb"
    root.mkdir()
    adb.parent.mkdir()
    adb.write_text(STAND_IN.format(python=sys.executable, root=str(root)))
    adb.chmod(0o755)
    monkeypatch.setenv("PATH", f"{adb.parent}:{os.environ['PATH']}")
    return root


def test_a_pack_comes_to_the_app_and_its_verdict_comes_back(phone: Path, tmp_path: Path) -> None:
    pack = tmp_path / "new.pack"
    pack.write_bytes(b"pack")
    (phone / "answer").write_text(
        'Broadcasting: Intent { }\nBroadcast completed: result=-1, data="swapped in"'
    )
    assert "emulator-5554: swapped in" in mnet("push", "--adb", pack).stdout
    assert (phone / "taken").read_text() == "app/files/inbox/pack.safetensors"
    assert not any((phone / "data/local/tmp").iterdir())
    (phone / "answer").write_text(
        'Broadcast completed: result=1, data="stale_version: the pack is version 3"'
    )
    assert_mistake(mnet("push", "--adb", pack), "the app on emulator-5554 refuses it: stale_version")
    (phone / "answer").write_text("Broadcast completed: result=0")
    assert_mistake(mnet("push", "--adb", pack), "no demo app answered", "installDebug")


def test_a_bundle_comes_with_what_a_phone_needs(phone: Path, tiny_bundle: Path) -> None:
    (phone / "answer").write_text('Broadcast completed: result=-1, data="bundle taken"')
    assert "bundle taken" in mnet("push", "--adb", tiny_bundle).stdout
    files = Bundle.load(tiny_bundle).manifest.files
    device = {"manifest.json"} | {name for name, file in files.items() if file.role == "device"}
    assert set((phone / "taken").read_text().split()) == {f"app/files/inbox/bundle/{name}" for name in device}


def test_the_app_measures_a_bundle(phone: Path, tiny_bundle: Path) -> None:
    figures = {
        "target": "android",
        "load": dict.fromkeys(
            ("check_files_p50_us", "load_and_self_test_p50_us", "next_inference_p50_us"), 1.0
        ),
        "inference": {"baked": TIMES, "swappable": TIMES, "ratio_p50": 1.25, "control_ratio_p50": 1.0},
        "swap": TIMES | {"count": 40, "parts": dict.fromkeys(PARTS, 1.0)},
        "time_to_effect": {"swap_p50_us": 1.0, "whole_model_p50_us": 2.0},
        "max_error": 0.0,
        "output_change": 1.0,
    }
    (phone / "report").write_text(json.dumps(figures))
    (phone / "answer").write_text("INSTRUMENTATION_CODE: -1")
    printed = mnet("bench", tiny_bundle, "--on", "app", "--swaps", "40").stdout
    assert "in the app" in printed
    assert "1.250" in printed
    bench = phone / "app" / "files" / "bench"
    assert {path.name for path in (bench / "bundle").iterdir()} == {
        path.name for path in tiny_bundle.iterdir()
    }
    assert len(list((bench / "packs").iterdir())) == 20
    (phone / "answer").write_text(
        "INSTRUMENTATION_RESULT: refusal=mnet.core.BundleException: too new\nINSTRUMENTATION_CODE: 0"
    )
    assert_mistake(
        mnet("bench", tiny_bundle, "--on", "app"), "did not measure: mnet.core.BundleException: too new"
    )


def test_a_push_needs_a_server_or_a_cable() -> None:
    assert_mistake(mnet("push"), "--server", "--adb")
