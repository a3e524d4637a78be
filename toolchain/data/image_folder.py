"""Any folder of images with a folder for each class, as `PATH/cat/7.jpg`, or with `train` and `test` above these.

Images are cut to a square and scaled to 32x32. Without a `test` folder, every sixth image of a class is held out.
"""

from pathlib import Path

import torch

from mnet.toolchain.data.images import LabelledImages, decode
from mnet.toolchain.errors import UserError

SIZE = 32
ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".ppm")
HELD_OUT = 6


def load_image_folder(path: Path | None) -> LabelledImages:
    """Read the folder. Raises UserError."""
    if path is None or not path.is_dir():
        raise UserError(f"image-folder: give a folder with a folder for each class, not {path}")
    published = (path / "train").is_dir() and (path / "test").is_dir()
    roots = (path / "train", path / "test") if published else (path,)
    classes = tuple(sorted(folder.name for folder in roots[0].iterdir() if folder.is_dir()))
    files, labels, held_out = [], [], []
    for root in roots:
        for label, name in enumerate(classes):
            found = sorted(file for file in (root / name).rglob("*") if file.suffix.lower() in ENDINGS)
            files += found
            labels += [label] * len(found)
            held_out += [
                root.name == "test" if published else number % HELD_OUT == HELD_OUT - 1
                for number in range(len(found))
            ]
    if len(set(labels)) < 2:
        raise UserError(f"image-folder: {path} has images of {len(set(labels))} classes; two are needed")
    return LabelledImages(
        path.name, decode(files, SIZE), torch.tensor(labels), classes, torch.tensor(held_out)
    )
