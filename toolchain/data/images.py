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
        fewest = int(self.labels.bincount(minlength=len(self.classes)).min())
        drawn = draw_devices(
            self.labels,
            torch.arange(len(self.labels)),
            devices,
            min(photos, fewest),
            concentration=0.3,
            camera=1.0,
            seed=0,
        )
        taken = drawn.cameras.take(torch.arange(devices), self.images[drawn.rows])
        rows = taken.permute(0, 3, 1, 4, 2).reshape(devices * taken.shape[3], -1, 3)
        Image.fromarray(rows.numpy()).save(file)


def decode(files: Iterable[bytes | Path], size: int | None = None) -> Tensor:
    """Image files, or their bytes -> uint8 [N, 3, H, W]; cut to a square and scaled to `size` where one is given.

    They are read as a person sees them: upright by their EXIF orientation, transparent parts on white, 16-bit greys
    scaled to 8 bits. Raises UserError for what is no image, or not of the size of the first.
    """
    pixels: list[np.ndarray] = []
    for number, file in enumerate(files):
        source = str(file) if isinstance(file, Path) else f"image {number}"
        try:
            data = file if isinstance(file, bytes) else file.read_bytes()
            with Image.open(BytesIO(data)) as image:
                image.verify()  # the checksums of a PNG, which decoding alone does not look at
            with Image.open(BytesIO(data)) as image:
                colour = _as_seen(image)
        except Exception as error:  # decoders raise anything on a damaged file, and none of it names the file
            what = " ".join(str(error).split()) or type(error).__name__
            raise UserError(f"{source} cannot be read as an image: {what}") from None
        if size is not None:
            colour = ImageOps.fit(colour, (size, size), Image.Resampling.LANCZOS)
        pixels.append(np.asarray(colour))
        if pixels[-1].shape != pixels[0].shape:
            raise UserError(f"{source} is {colour.width}x{colour.height}, the images before it are not")
    if not pixels:
        raise UserError("there are no images to read")
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).contiguous()


def _as_seen(image: Image.Image) -> Image.Image:
    """RGB as a viewer shows it. Raises ValueError for pixels whose range is not known."""
    upright = ImageOps.exif_transpose(image)
    # Pillow brings greys of a PGM with more than 8 bits to 16.
    if upright.mode.startswith("I;16") or (upright.mode == "I" and image.format == "PPM"):
        upright = Image.fromarray(np.rint(np.asarray(upright) / 257).astype(np.uint8))
    if upright.mode in ("I", "F"):
        raise ValueError("its pixels are 32-bit numbers of no known range; save it in 8 or 16 bits")
    if upright.has_transparency_data:
        upright = upright.convert("RGBA")
        white = Image.new("RGBA", upright.size, "white")
        upright = Image.alpha_composite(white, upright)
    return upright.convert("RGB")
