"""MovieLens 100K (GroupLens, https://grouplens.org/datasets/movielens/100k/): 943 users, 1,682 films, 1997-98.

Read from GroupLens' `u.data`, from a directory that holds it, from RecBole's `.inter` file, or downloaded.
Every rating counts as one implicit positive, whatever its stars.
"""

import zipfile
from pathlib import Path

import numpy as np

from mnet.toolchain.data.download import Source, download, folder_of
from mnet.toolchain.data.interactions import Interactions, from_columns
from mnet.toolchain.errors import UserError

NAME = "movielens-100k"
SOURCE = Source(
    "https://files.grouplens.org/datasets/movielens/ml-100k.zip",
    # Published beside the archive, as ml-100k.zip.md5.
    "md5",
    "0e33842e24a9c977be4e0107933c0723",
)


def load_movielens_100k(path: Path | None = None) -> Interactions:
    """Read the data set from `path`, or download it once into the cache. Raises UserError."""
    file = _fetch() if path is None else path
    if file.is_dir():
        file = file / "u.data"
    if not file.is_file():
        raise UserError(
            f"movielens-100k: {file} does not exist; give u.data, a directory with u.data, or an .inter file"
        )
    rows = np.array(_read(file), dtype=np.int64)
    if not len(rows):
        raise UserError(f"movielens-100k: {file} holds no interactions")
    _, users = np.unique(rows[:, 0], return_inverse=True)
    film_ids, items = np.unique(rows[:, 1], return_inverse=True)
    titles = _titles(file.parent / "u.item")
    return from_columns(
        "movielens-100k",
        users.astype(np.int64),
        items.astype(np.int64) + 1,
        rows[:, 2],
        n_items=len(film_ids),
        titles=tuple(titles[int(film)] for film in film_ids) if titles else None,
    )


def _read(file: Path) -> list[tuple[int, int, int]]:
    """(user, film, seconds) of each line: user, item, rating, timestamp, separated by tabs; `.inter` has a header."""
    rows = []
    with file.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, start=1):
            if number == 1 and line.startswith("user_id"):
                continue
            fields = line.rstrip("\r\n").split("\t")
            try:
                user, film, _rating, seconds = fields
                rows.append((int(user), int(film), int(seconds)))
            except ValueError:
                raise UserError(
                    f"movielens-100k: {file}, line {number}: expected user, item, rating and timestamp as four "
                    f"tab-separated numbers, got {line.rstrip()[:80]!r}"
                ) from None
    return rows


def _titles(file: Path) -> dict[int, str]:
    """Film id -> title from GroupLens' `u.item`, where it lies beside `u.data`."""
    if not file.is_file():
        return {}
    lines = file.read_text(encoding="latin-1").splitlines()
    return {int(film): title for film, title, *_ in (line.split("|") for line in lines if line)}


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
