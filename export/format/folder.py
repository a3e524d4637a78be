"""Where a bundle's manifest lies, for those who ask whether a folder is a bundle at all. Imports no PyTorch."""

from pathlib import Path

from mnet.export.format.errors import BundleError

MANIFEST_FILE = "manifest.json"


def read_manifest(folder: Path) -> bytes:
    """The bytes of the manifest, unchecked. Raises BundleError where there is none."""
    if not folder.is_dir():
        raise BundleError(f"no bundle at {folder}: there is no such folder; `mnet export` makes one")
    try:
        return (folder / MANIFEST_FILE).read_bytes()
    except OSError:
        raise BundleError(f"{folder} is not a bundle: it has no readable {MANIFEST_FILE}") from None
