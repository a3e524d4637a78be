"""The Android demo on a developer's machine: bundles into its sources, bundles and packs over the cable."""

import json
import re
import shutil
import tempfile
from pathlib import Path

from mnet.export.format.bundle import Bundle
from mnet.export.format.manifest import MANIFEST_FILE
from mnet.toolchain.attached.adb import AttachedPhone
from mnet.toolchain.data import load_interactions
from mnet.toolchain.errors import UserError
from mnet.toolchain.training.config import DataConfig

APP = "mnet.app"
RECEIVER = f"{APP}/.AdbReceiver"
_OK = -1  # android.app.Activity.RESULT_OK
_COMPLETED = re.compile(r'Broadcast completed: result=(-?\d+)(?:, data="(.*?)")?', re.DOTALL)
_SOURCES = Path("app/src/main")


def put_into_app(bundle: Bundle, data: DataConfig, app: Path) -> Path:
    """Make `bundle` the one that the demo in folder `app` carries, with the titles of its items where there are any.

    Returns the folder of the assets. Raises UserError where there is no such app.
    """
    if not (app / _SOURCES / "AndroidManifest.xml").is_file():
        raise UserError(f"{app} is not the Android demo: it has no {_SOURCES / 'AndroidManifest.xml'}")
    assets = app / _SOURCES / "assets"
    shutil.rmtree(assets / "bundle", ignore_errors=True)
    copy_for_device(bundle, assets / "bundle")
    titles = load_interactions(data.name, data.path, **data.settings).titles
    catalogue = assets / "catalogue.json"
    catalogue.unlink(missing_ok=True)
    if titles:
        catalogue.write_text(json.dumps({"titles": titles}, ensure_ascii=False), encoding="utf-8")
    return assets


def copy_for_device(bundle: Bundle, folder: Path) -> None:
    """Copy what a phone needs of `bundle`: all but the files for the bench."""
    device = [name for name, file in bundle.manifest.files.items() if file.role == "device"]
    for name in [MANIFEST_FILE, *device]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(bundle.path / name, folder / name)


def push_over_adb(path: Path) -> str:
    """Send a bundle folder or a pack file to the demo app on the attached phone; returns what the app made of it.

    Raises UserError without adb, without exactly one phone, without a debuggable demo app, or where the app refuses
    what was sent; BundleError for a broken bundle.
    """
    phone = AttachedPhone.find()
    if not path.exists():
        raise UserError(f"{path} does not exist; give a bundle folder or a pack file")
    with tempfile.TemporaryDirectory() as scratch:
        sent = Path(scratch) / ("bundle" if path.is_dir() else "pack.safetensors")
        if path.is_dir():
            copy_for_device(Bundle.load(path), sent)
        else:
            shutil.copyfile(path, sent)
        phone.give(APP, "inbox", sent)
    options = ("--include-stopped-packages", "--receiver-foreground")
    return _verdict(phone.name, phone.shell("am", "broadcast", *options, "-n", RECEIVER))


def _verdict(phone: str, printed: str) -> str:
    """What the app answered, of what `am broadcast` prints."""
    completed = _COMPLETED.search(printed)
    if completed is None or completed[2] is None:
        raise UserError(
            f"no demo app answered on {phone}; install a debuggable build (./gradlew installDebug)"
        )
    if int(completed[1]) != _OK:
        raise UserError(f"the app on {phone} refuses it: {completed[2]}")
    return f"{phone}: {completed[2]}"
