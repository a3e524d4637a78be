"""MovieLens 100K (GroupLens, https://grouplens.org/datasets/movielens/100k/): 943 users, 1,682 films, 1997-98.

Read from GroupLens' `u.data`, from a directory that holds it, from RecBole's `.inter` file, or downloaded.
Every rating counts as one implicit positive, whatever its stars.
"""

import zipfile
from dataclasses import replace
from pathlib import Path

from mnet.toolchain.data.download import Source, download, folder_of
from mnet.toolchain.data.interactions import Interactions
from mnet.toolchain.data.read_table import read_interactions
from mnet.toolchain.errors import UserError

DATA_SETS = {"movielens-100k": "load_movielens_100k"}

NAME = "movielens-100k"
SOURCE = Source(
    "https://files.grouplens.org/datasets/movielens/ml-100k.zip",
    # Published next to the archive, as ml-100k.zip.md5.
    "md5",
    "0e33842e24a9c977be4e0107933c0723",
)

INTER = {"user": "user_id", "item": "item_id", "time": "timestamp"}


def load_movielens_100k(path: Path | None = None) -> Interactions:
    """Read the data set from `path`, or download it once into the cache. Raises UserError."""
    file = _fetch() if path is None else path
    if file.is_dir():
        file = file / "u.data"
    if not file.is_file():
        raise UserError(
            f"movielens-100k: {file} does not exist; give u.data, a directory with u.data, or an .inter file"
        )
    if file.suffix.lower() == ".inter":
        data = read_interactions(NAME, file, INTER)
    else:
        header = ("user", "item", "rating", "time")
        data = read_interactions(NAME, file, {name: name for name in INTER}, header=header, delimiter="\t")
    assert data.item_ids
    titles = _titles(file.parent / "u.item")
    if titles and (unknown := [film for film in data.item_ids if film not in titles]):
        raise UserError(f"{NAME}: {file.parent / 'u.item'} has no title of film {unknown[0]}")
    return replace(data, titles=tuple(titles[film] for film in data.item_ids) if titles else None)


def _titles(file: Path) -> dict[str, str]:
    """Film id -> title from GroupLens' `u.item`, where it lies next to `u.data`."""
    titles = {}
    for number, line in enumerate(
        file.read_text(encoding="latin-1").splitlines() if file.is_file() else [], 1
    ):
        film, *rest = line.split("|")
        if line and not (film.isdecimal() and len(rest) > 1):
            raise UserError(f"{NAME}: {file}, line {number}: expected film|title|..., got {line[:80]!r}")
        if line:
            titles[film] = rest[0]
    return titles


def _fetch() -> Path:
    """The folder that holds `u.data`, downloaded and unpacked unless it is there already. Raises UserError."""
    folder = folder_of(NAME)
    if not (folder / "u.data").is_file():
        archive = folder / "ml-100k.zip"
        download(NAME, SOURCE, archive)
        _unpack(archive, folder)
        archive.unlink()
    return folder


def _unpack(archive: Path, folder: Path) -> None:
    """Write `u.item` and, last, `u.data`: its presence says that the folder is complete."""
    with zipfile.ZipFile(archive) as files:
        for name in ("u.item", "u.data"):
            part = folder / f"{name}.part"
            part.write_bytes(files.read(f"ml-100k/{name}"))
            part.replace(folder / name)
