"""Files that are either wholly there after a power loss, or not at all."""

import os
import secrets
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path

_SYNCING_THREADS = 16
_OPEN_AT_ONCE = 64  # a process may often have no more than 1,024 files open


def write_durably(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Replace `path` by `data` in one step that survives a power loss at any byte.

    Write a temporary file, fsync, rename, fsync the folder: a reader sees the old file or the new, never a mixture.
    """
    write_all_durably({path: data}, mode=mode)


def write_all_durably(files: Mapping[Path, bytes], *, mode: int = 0o644) -> None:
    """`write_durably` for many files, at little more than the price of one; each is whole or not there.

    Every file is fsynced, side by side: a journal (ext4, XFS) commits those that wait for it together.
    """
    write_named_durably({str(path): data for path, data in files.items()}, mode=mode)


def write_named_durably(files: Mapping[str, bytes], *, mode: int = 0o644) -> None:
    """`write_all_durably` for paths as they are: to take a thousand of them apart costs as much as to write them."""
    named = list(files.items())
    for start in range(0, len(named), _OPEN_AT_ONCE):
        _place(named[start : start + _OPEN_AT_ONCE], mode)
    for folder in {_split(path)[0] for path in files}:
        _sync_folder(folder or ".")


def unfinished(folder: Path, prefix: str = "") -> list[Path]:
    """What killed writes of names that begin with `prefix` left in a folder, and writes under way work on."""
    return list(folder.glob(f".{prefix}*.tmp"))


def _place(files: Sequence[tuple[str, bytes]], mode: int) -> None:
    """Write temporary files next to their places, fsync them, and rename them."""
    mark = secrets.token_hex(4)
    parts = [f"{folder}.{name}.{mark}.tmp" for folder, name in (_split(path) for path, _ in files)]
    descriptors: list[int] = []
    try:
        try:
            for part, (_, data) in zip(parts, files, strict=True):
                descriptors.append(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
                _write(descriptors[-1], data)
            _sync(descriptors)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        for part, (path, _) in zip(parts, files, strict=True):
            os.replace(part, path)  # noqa: PTH105 (a Path costs more than the call)
    except BaseException:
        for part in parts:
            with suppress(FileNotFoundError):
                os.unlink(part)  # noqa: PTH108
        raise


def _split(path: str) -> tuple[str, str]:
    """The folder of a path, with its `/`, and the name in it."""
    cut = path.rfind("/") + 1
    return path[:cut], path[cut:]


def _write(descriptor: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


def _sync(descriptors: list[int]) -> None:
    if len(descriptors) == 1:
        os.fsync(descriptors[0])
        return
    # A task a thread, not one a file: to hand out a task costs more than what it waits for.
    shares = [descriptors[n::_SYNCING_THREADS] for n in range(min(len(descriptors), _SYNCING_THREADS))]
    for _ in _syncing().map(_sync_each, shares):
        pass


def _sync_each(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.fsync(descriptor)


@cache
def _syncing() -> ThreadPoolExecutor:
    """Kept: to start its threads for each batch costs more than what they wait for."""
    return ThreadPoolExecutor(_SYNCING_THREADS, "fsync")


def _sync_folder(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
