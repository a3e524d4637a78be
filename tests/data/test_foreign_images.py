"""Images as other programs write them: read as a person sees them, or refused by the name of their file."""

import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnet.toolchain.data.image_folder import load_image_folder
from mnet.toolchain.data.images import decode
from mnet.toolchain.errors import UserError


def saved(image: Image.Image, form: str, **options: object) -> bytes:
    out = BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def seen(data: bytes) -> np.ndarray:
    """uint8 [H, W, 3]."""
    return decode([data])[0].permute(1, 2, 0).numpy()


# 9. Pixels with another meaning.


@pytest.mark.parametrize(("form", "mode"), [("PNG", "I;16"), ("TIFF", "I;16"), ("TIFF", "I;16B")])
def test_a_grey_of_16_bits_is_scaled(form: str, mode: str) -> None:
    wide = np.array([[0, 257, 32896, 65535]], dtype=">u2" if mode.endswith("B") else "<u2")
    image = Image.frombytes(mode, (4, 1), wide.tobytes())
    assert seen(saved(image, form))[0].tolist() == [[value] * 3 for value in (0, 1, 128, 255)]


def test_a_portable_grey_of_16_bits_is_scaled() -> None:
    assert seen(b"P5 2 1 65535\n\x80\x80\xff\xff")[0].tolist() == [[128] * 3, [255] * 3]


@pytest.mark.parametrize("mode", ["F", "I"])
def test_numbers_of_no_known_range_are_refused(mode: str) -> None:
    with pytest.raises(UserError, match=r"image 0 cannot be read as an image: .* of no known range"):
        seen(saved(Image.new(mode, (2, 2), 1), "TIFF"))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_stands_upright(orientation: int) -> None:
    upright = np.zeros((6, 4, 3), dtype=np.uint8)
    upright[0, 0] = 255  # one corner
    upright[0, 1] = 128
    undo = [
        lambda x: x, lambda x: x[:, ::-1], lambda x: x[::-1, ::-1], lambda x: x[::-1],
        lambda x: x.transpose(1, 0, 2), lambda x: np.rot90(x), lambda x: np.rot90(x, 2).transpose(1, 0, 2),
        lambda x: np.rot90(x, -1),
    ]  # fmt: skip
    stored = Image.fromarray(np.ascontiguousarray(undo[orientation - 1](upright)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert np.array_equal(seen(saved(stored, "PNG", exif=exif)), upright)


def test_hidden_colours_stay_hidden() -> None:
    red = Image.new("RGBA", (2, 1), (255, 0, 0, 255))
    red.putpixel((1, 0), (255, 0, 0, 0))
    assert seen(saved(red, "PNG"))[0].tolist() == [[255, 0, 0], [255, 255, 255]]
    palette = Image.new("P", (2, 1))
    palette.putpalette([0, 255, 0, 0, 0, 255])
    palette.putpixel((1, 0), 1)
    assert seen(saved(palette, "PNG"))[0].tolist() == [[0, 255, 0], [0, 0, 255]]
    assert seen(saved(palette, "PNG", transparency=1))[0].tolist() == [[0, 255, 0], [255, 255, 255]]
    half = Image.new("LA", (1, 1), (0, 128))
    assert seen(saved(half, "PNG"))[0, 0].tolist() == [127] * 3


# 10. Images that do not decode.


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int) -> bytes:
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(bytes(10)))
        + chunk(b"IEND", b"")
    )


WHOLE = saved(Image.effect_noise((40, 40), 50).convert("RGB"), "PNG")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no image",
        b"P6",
        b"P6 2 2 255\n\0",
        png(30_000, 30_000),
        WHOLE[:-200],
        WHOLE[:33] + chunk(b"\xff\xfe\x00a", b"junk") + WHOLE[33:200],
        WHOLE[:100] + b"\0" + WHOLE[101:],
        saved(Image.new("RGB", (40, 40)), "JPEG")[:-100],
        saved(Image.new("RGB", (9, 9)), "GIF")[:20],
        b"II*\0\xff\xff\xff\xff",
    ],
)
def test_any_fault_of_a_decoder_names_the_file(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "cat.png").write_bytes(data)
    with pytest.raises(UserError, match=r"cat\.png cannot be read as an image: .") as refused:
        decode([tmp_path / "cat.png"])
    assert "\n" not in str(refused.value)


# 11 and 12. Folders that are no classes; sizes.


def write(folder: Path, colour: str = "red", count: int = 2) -> None:
    folder.mkdir(parents=True)
    for number in range(count):
        Image.new("RGB", (40, 60), colour).save(folder / f"{number}.png")


def test_what_tools_leave_is_no_class(tmp_path: Path) -> None:
    for name in ("a", "b", ".ipynb_checkpoints", "__MACOSX", "a/.ipynb_checkpoints", "b/.thumbs"):
        write(tmp_path / name)
    (tmp_path / "a" / "._0.png").write_bytes(b"\0\5\x16\7")
    data = load_image_folder(tmp_path)
    assert (data.classes, len(data.labels)) == (("a", "b"), 4)


def test_a_class_without_an_image_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "0.heic").touch()
    with pytest.raises(UserError, match=r"b holds no image; endings that are read: \.jpg"):
        load_image_folder(tmp_path)


@pytest.mark.parametrize(
    ("parts", "held_out"),
    [
        (("train", "val"), [False] * 4 + [True] * 4),
        (("Train", "Test"), [False] * 4 + [True] * 4),
        (("train", "val", "test"), [False] * 8 + [True] * 4),
        (("training", "validation"), [False] * 4 + [True] * 4),
    ],
)
def test_parts_are_no_classes(tmp_path: Path, parts: tuple[str, ...], held_out: list[bool]) -> None:
    for part in parts:
        write(tmp_path / part / "a")
        write(tmp_path / part / "b")
    data = load_image_folder(tmp_path)
    assert data.classes == ("a", "b")
    assert data.held_out.tolist() == held_out


def test_a_class_of_the_test_alone_and_a_folder_by_the_parts_are_refused(tmp_path: Path) -> None:
    for name in ("train/a", "train/b", "test/a", "test/c"):
        write(tmp_path / name)
    with pytest.raises(UserError, match=r"class c is in .*test alone"):
        load_image_folder(tmp_path)
    (tmp_path / "test" / "c").rename(tmp_path / "extra")
    with pytest.raises(UserError, match="has parts, such as train, and the folder extra"):
        load_image_folder(tmp_path)


def test_images_come_in_the_size_that_is_set(tmp_path: Path) -> None:
    write(tmp_path / "a")
    write(tmp_path / "b")
    assert load_image_folder(tmp_path, size=64).image_size == (64, 64)
    with pytest.raises(UserError, match=r"data\.size is a number of pixels from 8 to 1024, not 'big'"):
        load_image_folder(tmp_path, size="big")  # type: ignore[arg-type]
