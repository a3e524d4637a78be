"""Any folder of texts: for each device a file, whose paragraphs are its texts, or a folder, whose files are."""

from collections.abc import Iterator
from pathlib import Path

from mnet.toolchain.data.texts import Texts, paragraphs
from mnet.toolchain.errors import UserError

DATA_SETS = {"text-folder": "load_text_folder"}

NAME = "text-folder"


def load_text_folder(path: Path | None = None) -> Texts:
    """Read `PATH/DEVICE.txt`, with blank lines between texts, and `PATH/DEVICE/*.txt`, texts in the order of names.

    Raises UserError.
    """
    if path is None or not path.is_dir():
        raise UserError(f"{NAME}: give a folder with a file or a folder for each device, not {path}")
    return Texts.of(NAME, _texts(path))


def _texts(path: Path) -> Iterator[tuple[str, str]]:
    for place in sorted(path.iterdir()):
        if place.name.startswith("."):
            continue
        if place.is_dir():
            yield from ((place.name, _read(file)) for file in sorted(place.glob("*.txt")))
        elif place.suffix == ".txt":
            yield from ((place.stem, text) for text in paragraphs(_read(place)))


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{NAME}: {file} cannot be read as UTF-8: {error}") from None
