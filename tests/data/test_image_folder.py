"""Any folder of images: classes by folder, sizes brought to one, a part held out."""

from pathlib import Path

import pytest
from PIL import Image

from mnet.toolchain.data.image_folder import load_image_folder
from mnet.toolchain.errors import UserError


def write(folder: Path, colour: str, count: int, size: tuple[int, int] = (40, 60)) -> None:
    folder.mkdir(parents=True)
    for number in range(count):
        Image.new("RGB", size, colour).save(folder / f"{number}.png")


def test_a_folder_for_each_class(tmp_path: Path) -> None:
    write(tmp_path / "red", "red", 6)
    write(tmp_path / "blue", "blue", 7, size=(20, 10))
    (tmp_path / "red" / "notes.txt").write_text("not an image")
    data = load_image_folder(tmp_path)
    assert (data.name, data.classes, data.image_size) == (tmp_path.name, ("blue", "red"), (32, 32))
    assert data.labels.tolist() == [0] * 7 + [1] * 6
    assert data.held_out.nonzero()[:, 0].tolist() == [5, 12]
    assert data.images[0, :, 16, 16].tolist() == [0, 0, 255]
    assert data.images[-1, :, 16, 16].tolist() == [255, 0, 0]


def test_published_parts_are_kept(tmp_path: Path) -> None:
    for part, count in {"train": 3, "test": 2}.items():
        write(tmp_path / part / "a", "red", count)
        write(tmp_path / part / "b", "blue", count)
    data = load_image_folder(tmp_path)
    assert data.held_out.tolist() == [False] * 6 + [True] * 4
    assert data.labels.tolist() == [0, 0, 0, 1, 1, 1, 0, 0, 1, 1]


def test_what_is_wrong_with_a_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="give a folder with a folder for each class"):
        load_image_folder(tmp_path / "absent")
    write(tmp_path / "a", "red", 2)
    with pytest.raises(UserError, match="images of 1 classes; two are needed"):
        load_image_folder(tmp_path)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "broken.png").write_text("this is no PNG")
    with pytest.raises(UserError, match=r"broken\.png cannot be read as an image"):
        load_image_folder(tmp_path)
