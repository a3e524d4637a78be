"""What every image data set becomes: colour images of one size, and the class of each."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn import functional

from mnet.toolchain.data.devices import draw_devices
from mnet.toolchain.errors import UserError


@dataclass(frozen=True)
class LabelledImages:
    """Images with a class each.

    Attributes:
        name: of the data set.
        images: uint8 [N, 3, H, W].
        labels: int64 [N], index into `classes`.
        classes: their names.
        held_out: bool [N], the test images, as published or drawn once and for all.
    """

    name: str
    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    held_out: Tensor

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.images.shape[2], self.images.shape[3]

    def smaller(self, pixels: int) -> "LabelledImages":
        """The same images averaged down to `pixels` by `pixels`."""
        images = (
            functional.interpolate(self.images.float(), size=(pixels, pixels), mode="area").round().byte()
        )
        return replace(self, images=images)

    def summary(self) -> dict[str, int | str]:
        """What there is, in numbers."""
        height, width = self.image_size
        return {
            "images": len(self.images),
            "of these for test": int(self.held_out.sum()),
            "size": f"{width}x{height}",
            "classes": ", ".join(self.classes),
        }

    def contact_sheet(self, file: Path, devices: int = 10, photos: int = 20) -> None:
        """Write a PNG with one row for each of a few devices: what stands before its camera, as the camera has it."""
        drawn = draw_devices(
            self.labels,
            torch.arange(len(self.labels)),
            devices,
            photos,
            concentration=0.3,
            camera=1.0,
            seed=0,
        )
        taken = drawn.cameras.take(torch.arange(devices), self.images[drawn.rows])
        rows = taken.permute(0, 3, 1, 4, 2).reshape(devices * taken.shape[3], -1, 3)
        Image.fromarray(rows.numpy()).save(file)


def decode(files: Iterable[bytes | Path], size: int | None = None) -> Tensor:
    """Image files, or their bytes -> uint8 [N, 3, H, W]; cut to a square and scaled to `size` where one is given.

    Raises UserError for what is no image, or not of the size of the first.
    """
    pixels: list[np.ndarray] = []
    for number, file in enumerate(files):
        source = str(file) if isinstance(file, Path) else f"image {number}"
        try:
            with Image.open(BytesIO(file) if isinstance(file, bytes) else file) as image:
                colour = image.convert("RGB")
        except OSError as error:
            raise UserError(f"{source} cannot be read as an image: {error}") from None
        if size is not None:
            colour = ImageOps.fit(colour, (size, size), Image.Resampling.LANCZOS)
        pixels.append(np.asarray(colour))
        if pixels[-1].shape != pixels[0].shape:
            raise UserError(f"{source} is {colour.width}x{colour.height}, the images before it are not")
    if not pixels:
        raise UserError("there are no images to read")
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).contiguous()
