"""Is what a verb was given there? Asked before PyTorch is imported, so that a mistake is reported at once.

Whoever reads the run or bundle checks all of it again.
"""

from pathlib import Path

from mnet.toolchain.errors import UserError


def check_path(path: Path | None) -> None:
    """Raises UserError where the file or folder with a data set is missing."""
    if path is not None and not path.exists():
        raise UserError(f"{path}: there is no such file or folder")


def read_ids(path: Path) -> list[str]:
    """The device ids in a file, one a line. Raises UserError for a file without any."""
    ids = path.read_text(encoding="utf-8").split()
    if not ids:
        raise UserError(f"{path} names no device: one id a line")
    return ids


def check_runs(*runs: Path) -> None:
    """Raises UserError where a folder is not a run."""
    from mnet.toolchain.training.config import find_run

    for run in runs:
        find_run(run)


def check_bundles(*bundles: Path) -> None:
    """Raises BundleError where a folder is not a bundle."""
    from mnet.export.format.folder import read_manifest

    for bundle in bundles:
        read_manifest(bundle)


def check_targets(*targets: str) -> None:
    """Raises BundleError for a name that is no target's."""
    from mnet.export.targets import check_name

    for target in targets:
        check_name(target)
