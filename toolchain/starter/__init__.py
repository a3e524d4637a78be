"""The folder that `mnet init` writes: a model, data, a config and a test to start from."""

import shutil
from importlib import resources
from pathlib import Path

from mnet.toolchain.errors import UserError


def write_starter(folder: Path) -> list[str]:
    """Write the files into a new or empty folder; their names. Raises UserError where something is there already."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is there and not empty: name a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    with resources.as_file(resources.files("mnet.toolchain.starter") / "files") as source:
        for file in sorted(source.iterdir()):
            if file.is_file():
                shutil.copyfile(file, folder / file.name)
                names.append(file.name)
    return names
