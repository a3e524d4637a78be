"""A data set of 1,000 images of one grey each: the grey is the image's row, and every fourth row is of one class."""

from pathlib import Path

import torch

from mnet.toolchain.data.images import LabelledImages


def grey_images() -> LabelledImages:
    rows = torch.arange(1000)
    # Two bytes tell the row: red the hundreds, green the rest.
    images = torch.zeros(1000, 3, 8, 8, dtype=torch.uint8)
    images[:, 0] = (rows // 100)[:, None, None].byte()
    images[:, 1] = (rows % 100)[:, None, None].byte()
    return LabelledImages("greys", images, rows % 4, ("a", "b", "c", "d"), rows >= 700)


def load_greys(path: Path | None) -> LabelledImages:
    """The same, as a config names a data set of one's own."""
    return grey_images()
