"""Any folder of images with a folder for each class, such as `PATH/cat/7.jpg`, or with parts above these.

Images are cut to a square and scaled. Parts are called train and test, or train, val and test; of train and val alone
the second is held out. Without parts, every sixth image of a class is held out.
"""

from pathlib import Path

import torch

from mnet.toolchain.data.images import LabelledImages, decode
from mnet.toolchain.errors import UserError

DATA_SETS = {"image-folder": "load_image_folder"}

ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".ppm", ".tif", ".tiff")
HELD_OUT = 6
TRAIN, VALIDATION, TEST = ("train", "training"), ("val", "valid", "validation"), ("test", "testing")


def load_image_folder(path: Path | None, size: int = 32) -> LabelledImages:
    """Read the folder, its images `size` pixels wide and high. Raises UserError."""
    if path is None or not path.is_dir():
        raise UserError(f"image-folder: give a folder with a folder for each class, not {path}")
    if not isinstance(size, int) or not 8 <= size <= 1024:
        raise UserError(f"image-folder: data.size is a number of pixels from 8 to 1024, not {size!r}")
    parts = _parts(path)
    classes = _folders(parts[0][0])
    for root, _ in parts[1:]:
        if unknown := [name for name in _folders(root) if name not in classes]:
            raise UserError(f"image-folder: class {unknown[0]} is in {root} alone: it cannot be learnt")
    files, labels, held_out = [], [], []
    for root, is_held_out in parts:
        for label, name in enumerate(classes):
            found = _images(root / name)
            if not found and root == parts[0][0]:
                raise UserError(
                    f"image-folder: {root / name} holds no image; endings that are read: {', '.join(ENDINGS)}"
                )
            files += found
            labels += [label] * len(found)
            held_out += [
                number % HELD_OUT == HELD_OUT - 1 if is_held_out is None else is_held_out
                for number in range(len(found))
            ]
    if len(classes) < 2:
        raise UserError(f"image-folder: {path} has images of {len(classes)} classes; two are needed")
    return LabelledImages(
        path.name, decode(files, size), torch.tensor(labels), classes, torch.tensor(held_out)
    )


def _parts(path: Path) -> list[tuple[Path, bool | None]]:
    """Folders of classes, that to train on first, and whether each is held out; None for a part of each class."""
    by_name = {name.lower(): path / name for name in _folders(path)}
    train, validation, test = (
        [by_name[name] for name in names if name in by_name] for names in (TRAIN, VALIDATION, TEST)
    )
    if not train or not (validation or test):
        return [(path, None)]
    if others := [folder.name for folder in by_name.values() if folder not in (*train, *validation, *test)]:
        raise UserError(
            f"image-folder: {path} has parts, such as {train[0].name}, and the folder {others[0]}, which is none"
        )
    return [
        *((folder, False) for folder in (*train, *(validation if test else ()))),
        *((folder, True) for folder in test or validation),
    ]


def _folders(path: Path) -> tuple[str, ...]:
    return tuple(sorted(folder.name for folder in path.iterdir() if folder.is_dir() and not _hidden(folder)))


def _images(folder: Path) -> list[Path]:
    """Those below a folder, but for what tools hide there."""
    return sorted(
        file
        for file in folder.rglob("*")
        if file.suffix.lower() in ENDINGS
        and not any(_hidden(part) for part in (file, *file.relative_to(folder).parents))
    )


def _hidden(path: Path) -> bool:
    return len(path.name) > 0 and (path.name.startswith(".") or path.name == "__MACOSX")
