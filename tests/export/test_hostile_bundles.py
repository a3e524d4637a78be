"""Bundles that somebody sealed who means no good: each is refused in one line, whatever its files hold."""

import hashlib
import json
import shutil
import struct
from pathlib import Path

import pytest

from mnet.export.format.bundle import list_files
from mnet.export.format.manifest import MANIFEST_FILE, seal
from tests.mnet_command import Mnet

LONG_HEADER = struct.pack("<Q", 2**62) + b"{}"


def sealed(folder: Path, changed: dict[str, bytes]) -> None:
    """Change files, and seal the bundle again as its exporter would."""
    content = json.loads((folder / MANIFEST_FILE).read_bytes())
    del content["id"]
    for name, data in changed.items():
        (folder / name).write_bytes(data)
        content["files"][name] |= {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    (folder / MANIFEST_FILE).write_bytes(seal(content))


@pytest.mark.parametrize("kind", ["empty", "garbage", "cut", "long header", "another file"])
def test_a_sealed_bundle_of_nonsense_is_refused_by_name(
    tiny_bundle: Path, tmp_path: Path, mnet: Mnet, kind: str
) -> None:
    for name, path in list_files(tiny_bundle).items():
        if name.startswith("bench"):
            continue  # which nothing serves
        good = path.read_bytes()
        other = (
            tiny_bundle / ("golden.safetensors" if name != "golden.safetensors" else "model.pte")
        ).read_bytes()
        data = {
            "empty": b"",
            "garbage": bytes(range(256)) * 40,
            "cut": good[: len(good) // 2],
            "long header": LONG_HEADER,
            "another file": other,
        }[kind]
        folder = tmp_path / "bundle"
        shutil.copytree(tiny_bundle, folder)
        sealed(folder, {name: data})
        code, out, err = mnet("verify", folder)
        assert (code in (1, 2), out, "Traceback" in err) == (True, "", False), (name, kind, err)
        assert len(err.strip().splitlines()) >= 1, (name, kind)
        shutil.rmtree(folder)


def test_a_file_that_the_manifest_does_not_list_is_refused(
    tiny_bundle: Path, tmp_path: Path, mnet: Mnet
) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(tiny_bundle, folder)
    (folder / "sitecustomize.py").write_text("raise SystemExit")
    code, _, err = mnet("verify", folder)
    assert (code, "extra_file" in err) == (1, True)
