"""CIFAR-10 from each of its forms, from a server, and what is said about bad input. All of the files are made up."""

import io
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from mnet.toolchain.data.cifar10 import fetch, load_cifar10
from mnet.toolchain.errors import UserError

GENERATOR = np.random.default_rng(0)
PIXELS = {
    part: GENERATOR.integers(0, 256, (n, 3, 32, 32), np.uint8) for part, n in {"train": 20, "test": 8}.items()
}
LABELS = {part: [n % 10 for n in range(len(pixels))] for part, pixels in PIXELS.items()}


def write_parquet(folder: Path) -> None:
    for part, pixels in PIXELS.items():
        rows = []
        for image, label in zip(pixels, LABELS[part], strict=True):
            png = io.BytesIO()
            Image.fromarray(image.transpose(1, 2, 0)).save(png, "PNG")
            rows.append({"img": {"bytes": png.getvalue(), "path": None}, "label": label})
        pd.DataFrame(rows).to_parquet(folder / f"{part}-00000-of-00001.parquet")


def batches() -> dict[str, tuple[np.ndarray, list[int]]]:
    """As the official archives have them, but for their number."""
    return {
        "data_batch_1": (PIXELS["train"][:12], LABELS["train"][:12]),
        "data_batch_2": (PIXELS["train"][12:], LABELS["train"][12:]),
        "test_batch": (PIXELS["test"], LABELS["test"]),
    }


def write_binary(folder: Path) -> None:
    for name, (pixels, labels) in batches().items():
        rows = b"".join(bytes([label]) + image.tobytes() for image, label in zip(pixels, labels, strict=True))
        (folder / f"{name}.bin").write_bytes(rows)


def text(value: str) -> bytes:
    return b"U" + bytes([len(value)]) + value.encode()


def python_2_pickle(pixels: np.ndarray, labels: list[int], by_column: bool) -> bytes:
    """What cPickle of Python 2 wrote, token by token: byte strings for everything, an array by its state."""
    rows = pixels.reshape(len(pixels), -1)
    data = rows.tobytes("F" if by_column else "C")
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + text("b") + b"\x87R"
    dtype = (
        b"cnumpy\ndtype\n"
        + text("u1")
        + b"K\x00K\x01\x87R(K\x03"
        + text("|")
        + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    )
    shape = b"".join(b"M" + int(n).to_bytes(2, "little") for n in rows.shape) + b"\x86"
    state = b"(K\x01" + shape + dtype + (b"\x88" if by_column else b"\x89")
    state += b"T" + len(data).to_bytes(4, "little") + data + b"tb"
    return b"".join(
        (
            b"\x80\x02}(" + text("batch_label") + text("training batch 1 of 5"),
            text("labels") + b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e",
            text("data") + array + state,
            text("filenames") + b"](" + b"".join(text(f"{n}.png") for n in range(len(labels))) + b"eu.",
        )
    )


def write_python(folder: Path) -> None:
    # One level down, as the archive unpacks.
    (folder / "cifar-10-batches-py").mkdir()
    for number, (name, (pixels, labels)) in enumerate(batches().items()):
        pickled = python_2_pickle(pixels, labels, by_column=number == 1)
        unpickled = pickle.loads(pickled, encoding="bytes")
        assert unpickled[b"labels"] == labels
        assert (unpickled[b"data"] == pixels.reshape(len(pixels), -1)).all()
        (folder / "cifar-10-batches-py" / name).write_bytes(pickled)


@pytest.mark.parametrize("write", [write_parquet, write_binary, write_python])
def test_every_form_gives_the_same_images(tmp_path: Path, write: Callable[[Path], None]) -> None:
    write(tmp_path)
    data = load_cifar10(tmp_path)
    assert torch.equal(data.images, torch.from_numpy(np.concatenate(list(PIXELS.values()))))
    assert data.labels.tolist() == LABELS["train"] + LABELS["test"]
    assert data.held_out.tolist() == [False] * 20 + [True] * 8
    assert data.classes[3] == "cat"


def test_nothing_in_a_pickle_is_executed(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Callable[..., None], tuple[Path]]:
            return Path.touch, (tmp_path / "executed",)

    for name in ("data_batch_1", "test_batch"):
        (tmp_path / name).write_bytes(pickle.dumps({"labels": [1], "data": Trap()}, protocol=2))
    with pytest.raises(UserError, match="holds 1 labels and"):
        load_cifar10(tmp_path)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "holds neither train"),
        ({"data_batch_1.bin": b"\1" * 3074, "test_batch.bin": b""}, r"data_batch_1\.bin has 3074 bytes"),
        ({"data_batch_1.bin": b"\x0b" * 3073, "test_batch.bin": b"\1" * 3073}, "labels from 1 to 11"),
        ({"data_batch_1": b"hello", "test_batch": b""}, "data_batch_1 is no python batch"),
        ({"train.parquet": b"PAR1", "test.parquet": b""}, r"train\.parquet"),
    ],
)
def test_what_is_wrong_with_a_folder_is_said(tmp_path: Path, files: dict[str, bytes], message: str) -> None:
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        load_cifar10(tmp_path)


def test_it_is_downloaded_unpacked_and_kept(tmp_path: Path, serve: Callable[[bytes], Any]) -> None:
    packed = tmp_path / "packed"
    packed.mkdir()
    write_binary(packed)
    (packed / "readme.html").write_text("not needed")
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as files:
        files.add(packed, "cifar-10-batches-bin")
    site = serve(archive.getvalue())
    folders = [fetch(tmp_path / "cache", site.source) for _ in range(2)]
    assert site.requests == 1
    assert sorted(file.name for file in folders[1].iterdir()) == [f"{name}.bin" for name in sorted(batches())]
    assert len(load_cifar10(folders[1]).labels) == 28
