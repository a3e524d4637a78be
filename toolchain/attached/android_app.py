"""The Android demo on a developer's machine: bundles into its sources, bundles and packs over the cable."""

import json
import shutil
import tempfile
from pathlib import Path

from mnet.export.format.bundle import Bundle
from mnet.export.format.manifest import MANIFEST_FILE
from mnet.toolchain.attached.adb import AttachedPhone
from mnet.toolchain.data import load_interactions
from mnet.toolchain.errors import UserError
from mnet.toolchain.training.config import DataConfig

INBOX = "/sdcard/Android/data/mnet.app/files/inbox"
RECEIVER = "mnet.app/.AdbReceiver"
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
    """Send a bundle folder or a pack file to the attached phone and notify its demo app; returns the phone's name.

    Raises UserError without adb, without exactly one phone, or where adb fails; BundleError for a broken bundle.
    """
    phone = AttachedPhone.find()
    if not path.exists():
        raise UserError(f"{path} does not exist; give a bundle folder or a pack file")
    with tempfile.TemporaryDirectory() as scratch:
        sent, target = path, f"{INBOX}/pack.safetensors"
        if path.is_dir():
            sent, target = Path(scratch) / "bundle", f"{INBOX}/"
            copy_for_device(Bundle.load(path), sent)
        phone.shell("mkdir", "-p", INBOX)
        phone.push(sent, target)
    phone.shell("am", "broadcast", "-n", RECEIVER)
    return phone.name
