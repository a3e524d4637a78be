"""Made-up devices that write: each has words of its own, in between words that all use."""

import random
from pathlib import Path

from mnet.toolchain.data.texts import Texts

SMALL = {"name": "language", "context": 48, "window": 12, "serves": 2, "prompt": 12}


def texts(devices: int = 30, count: int = 12) -> Texts:
    """`devices` with `count` texts of some 40 bytes each, always the same."""
    draw = random.Random(0)
    letters = "abcdefghijklmnopqrstuvwxyzäö"
    pairs = []
    for device in range(devices):
        own = ["".join(draw.choices(letters, k=4)) for _ in range(4)]
        for _ in range(count):
            words = draw.choices([*own, "the", "and", "of", "say"], k=9)
            pairs.append((f"device {device:02}", " ".join(words) + "."))
    return Texts.of("made-up", pairs)


def write_folder(folder: Path) -> Path:
    """The same as a data set `text-folder`."""
    folder.mkdir()
    data = texts()
    for device, own in zip(data.devices, data.texts, strict=True):
        (folder / f"{device}.txt").write_text("\n\n".join(own), encoding="utf-8")
    return folder
