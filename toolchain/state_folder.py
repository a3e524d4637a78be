"""Whose a state folder is: a marker file says so, that nobody takes another's for its own and deletes what is in it."""

import fcntl
import json
import os
import stat
from collections.abc import Collection
from pathlib import Path

from mnet.toolchain.errors import UserError

MARKER = "owner.json"


def claim(folder: Path, kind: str, foreign: Collection[str]) -> int:
    """Open or create a private state folder of this `kind`; returns the descriptor of its marker, for `lock`.

    A folder without a marker is taken unless it holds one of the `foreign` names. Its mode becomes 0700.
    Raises UserError for a folder of another kind, OSError where it cannot be had.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    marker = folder / MARKER
    if not marker.is_symlink() and not marker.exists():
        for name in foreign:
            if os.path.lexists(folder / name):
                raise UserError(f"{folder} holds {name}, and is not the folder of a {kind}: name another one")
    folder.chmod(0o700)
    descriptor = os.open(marker, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        owner = _owner(descriptor)
        if owner not in (None, kind):
            raise UserError(f"{folder} is the folder of a {owner}, not of a {kind}: name another one")
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def lock(descriptor: int, folder: Path, kind: str) -> None:
    """Be the only process, and the only object, that uses the folder until the descriptor is closed. UserError else."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise UserError(f"{folder} is in use by process {_process(descriptor)}") from None
    mark(descriptor, kind)


def mark(descriptor: int, kind: str) -> None:
    """Write whose the folder is, and which process uses it; a full disk changes nothing."""
    text = json.dumps({"mnet": kind, "process": os.getpid()}).encode()
    try:
        os.pwrite(descriptor, text, 0)
        os.ftruncate(descriptor, len(text))
    except OSError:
        pass  # the lock holds without it


def read_own(path: Path) -> bytes:
    """The content of a regular file in one's own folder, through no symlink. OSError otherwise."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(f"{path} is not a regular file")
        return file.read()


def _read(descriptor: int) -> dict[str, object]:
    try:
        content = json.loads(os.pread(descriptor, 4096, 0))
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _owner(descriptor: int) -> str | None:
    owner = _read(descriptor).get("mnet")
    return owner if isinstance(owner, str) else None


def _process(descriptor: int) -> object:
    return _read(descriptor).get("process", "another one")
