import json
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


def test_a_push_needs_a_server_or_a_cable() -> None:
    assert_mistake(mnet("push"), "--server", "--adb")
