"""Files that are either wholly there after a power loss, or not at all."""

import os
import secrets
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
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
    paths = list(files)
    for start in range(0, len(paths), _OPEN_AT_ONCE):
        _place({path: files[path] for path in paths[start : start + _OPEN_AT_ONCE]}, mode)
    for folder in {path.parent for path in paths}:
        _sync_folder(folder)


def unfinished(folder: Path, prefix: str = "") -> list[Path]:
    """What killed writes of names that begin with `prefix` left in a folder, and writes under way work on."""
    return list(folder.glob(f".{prefix}*.tmp"))


def _place(files: Mapping[Path, bytes], mode: int) -> None:
    """Write temporary files next to their places, fsync them, and rename them."""
    parts = {path: path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp") for path in files}
    try:
        with ExitStack() as opened:
            descriptors = []
            for path, part in parts.items():
                descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
                file = opened.enter_context(os.fdopen(descriptor, "wb"))
                file.write(files[path])
                file.flush()
                descriptors.append(descriptor)
            _sync(descriptors)
        for path, part in parts.items():
            part.replace(path)
    except BaseException:
        for part in parts.values():
            part.unlink(missing_ok=True)
        raise


def _sync(descriptors: list[int]) -> None:
    if len(descriptors) == 1:
        os.fsync(descriptors[0])
        return
    for _ in _syncing().map(os.fsync, descriptors):
        pass


@cache
def _syncing() -> ThreadPoolExecutor:
    """Kept: to start its threads for each batch costs more than what they wait for."""
    return ThreadPoolExecutor(_SYNCING_THREADS, "fsync")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
