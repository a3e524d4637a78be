"""CIFAR-10 (Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html): 60,000 images of 32x32, ten classes.

Read from a folder in any of the forms in which it is handed out: Parquet, as the Hugging Face hub has it; the binary
version; the python version, whose pickles are read as tokens, so that nothing in them is executed. Or downloaded.
"""

import pickletools
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet
import torch
from torch import Tensor

from mnet.toolchain.data.download import Source, download, folder_of
from mnet.toolchain.data.images import LabelledImages, decode
from mnet.toolchain.errors import UserError

DATA_SETS = {"cifar10": "load_cifar10"}

NAME = "cifar10"
SOURCE = Source(
    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    # Published on the page above.
    "md5",
    "c32a1d4ab5d03f1284b67883e8d87530",
)
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SHAPE = (3, 32, 32)

Part = tuple[Tensor, Tensor]


def load_cifar10(path: Path | None = None) -> LabelledImages:
    """Read the data set from a folder, or download it once into the cache. Raises UserError."""
    path = path or fetch(folder_of(NAME))
    for training, test, read in FORMS:
        # The hub and the official archives each put their files one folder down.
        found = [sorted({*path.glob(pattern), *path.glob(f"*/{pattern}")}) for pattern in (training, test)]
        if all(found):
            parts = [[read(file) for file in files] for files in found]
            images, labels = (torch.cat(tensors) for tensors in zip(*parts[0], *parts[1], strict=True))
            _check(labels, path)
            held_out = torch.arange(len(labels)) >= sum(len(labels) for _, labels in parts[0])
            return LabelledImages(NAME, images, labels, CLASSES, held_out)
    raise UserError(
        f"{NAME}: {path} holds neither train*.parquet and test*.parquet, nor data_batch_*.bin and test_batch.bin, "
        "nor data_batch_* and test_batch"
    )


def fetch(folder: Path, source: Source = SOURCE) -> Path:
    """Download and unpack the binary version into `folder`, unless it is there. Raises UserError."""
    archive = folder / "cifar-10-binary.tar.gz"
    if not (folder / "test_batch.bin").is_file():
        download(NAME, source, archive)
        with tarfile.open(archive) as files:
            # The test batch last: its presence says that the folder is complete.
            batches = sorted(member.name for member in files if member.name.endswith(".bin"))
            for name in batches:
                packed = files.extractfile(name)
                assert packed
                part = folder / f"{Path(name).name}.part"
                part.write_bytes(packed.read())
                part.replace(part.with_suffix(""))
        archive.unlink()
    return folder


def _read_parquet(file: Path) -> Part:
    try:
        table = pyarrow.parquet.read_table(file, columns=["img", "label"])
        images = decode(row["bytes"] for row in table["img"].to_pylist())
        labels = torch.from_numpy(table["label"].to_numpy().astype(np.int64))
    except (pyarrow.ArrowException, KeyError, TypeError) as error:
        raise UserError(f"{NAME}: {file} has not the columns img (bytes, path) and label: {error}") from None
    return images, labels


def _read_binary(file: Path) -> Part:
    """A byte for the label, 3072 for red, green and blue, and so on."""
    rows = torch.frombuffer(bytearray(file.read_bytes()), dtype=torch.uint8)
    record = 1 + SHAPE[0] * SHAPE[1] * SHAPE[2]
    if len(rows) == 0 or len(rows) % record:
        raise UserError(f"{NAME}: {file} has {len(rows)} bytes, no multiple of {record}")
    rows = rows.view(-1, record)
    return rows[:, 1:].reshape(-1, *SHAPE), rows[:, 0].long()


def _read_python(file: Path) -> Part:
    """A pickled dict of `data`, a numpy array uint8 [n, 3072], and `labels`, a list: found among its tokens."""
    pixels, by_column = b"", False
    labels: list[int] = []
    key, flag = "", False
    try:
        for token, value, _ in pickletools.genops(file.read_bytes()):
            if token.name in ("NEWTRUE", "NEWFALSE"):
                flag = token.name == "NEWTRUE"
            elif isinstance(value, str):
                key = value
                if len(value) > len(pixels):
                    # The longest one ends the array's state: version, shape, dtype, by column?, bytes.
                    pixels, by_column = value.encode("latin-1", "replace"), flag
            elif key == "labels" and token.name == "BININT1" and isinstance(value, int):
                labels.append(value)
    except ValueError as error:
        raise UserError(f"{NAME}: {file} is no python batch: {error}") from None
    size = SHAPE[0] * SHAPE[1] * SHAPE[2]
    if not labels or len(pixels) != len(labels) * size:
        raise UserError(f"{NAME}: {file} holds {len(labels)} labels and {len(pixels)} bytes of pixels")
    rows = np.frombuffer(pixels, np.uint8).reshape((len(labels), size), order="F" if by_column else "C")
    return torch.from_numpy(rows.copy()).view(-1, *SHAPE), torch.tensor(labels)


def _check(labels: Tensor, path: Path) -> None:
    if int(labels.min()) < 0 or int(labels.max()) >= len(CLASSES):
        raise UserError(f"{NAME}: {path} has labels from {labels.min()} to {labels.max()}, not from 0 to 9")


FORMS: tuple[tuple[str, str, Callable[[Path], Part]], ...] = (
    ("train*.parquet", "test*.parquet", _read_parquet),
    ("data_batch_*.bin", "test_batch.bin", _read_binary),
    ("data_batch_[1-5]", "test_batch", _read_python),
)
