"""Is what a verb was given there? Asked before PyTorch is imported, so that a mistake is reported at once.

Whoever reads the run or bundle checks all of it again.
"""

from pathlib import Path

from mnet.toolchain.errors import UserError


def check_path(path: Path | None) -> None:
    """Raises UserError where the file or folder with a data set is missing."""
    if path is not None and not path.exists():
        raise UserError(f"{path}: there is no such file or folder")


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
