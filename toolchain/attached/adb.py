"""A phone at the cable, as `adb` reaches it."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from mnet.toolchain.errors import UserError

# Where adb may write and an app may read: an app's own storage is reached by `run-as` alone.
_STAGE = "/data/local/tmp/mnet-stage"


@dataclass(frozen=True)
class AttachedPhone:
    """The one phone that is attached; every call raises UserError where adb or the phone fails."""

    name: str
    adb: str

    @classmethod
    def find(cls) -> Self:
        """The phone; UserError without adb, or without exactly one phone that allows debugging."""
        adb = shutil.which("adb")
        if adb is None:
            raise UserError(
                "adb is not installed; it is part of Android's platform tools (Debian: apt install adb)"
            )
        rows = [line.split("\t") for line in _run(adb, "devices").splitlines() if "\t" in line]
        phones = [name for name, state in rows if state == "device"]
        if len(phones) != 1:
            found = ", ".join(f"{name} ({state})" for name, state in rows) or "none"
            raise UserError(f"one phone must be attached and allow debugging; adb sees {found}")
        return cls(phones[0], adb)

    def push(self, path: Path, target: str) -> None:
        """Copy a file or a folder to the phone."""
        _run(self.adb, "-s", self.name, "push", str(path), target)

    def give(self, app: str, folder: str, *files: Path) -> None:
        """Make `folder` of a debuggable app's own storage hold these files and folders, and nothing else."""
        self.shell("rm", "-rf", _STAGE)
        self.shell("mkdir", "-p", _STAGE)
        self.shell("run-as", app, "rm", "-rf", f"files/{folder}")
        self.shell("run-as", app, "mkdir", "-p", f"files/{folder}")
        for file in files:
            self.push(file, f"{_STAGE}/{file.name}")
            self.shell("run-as", app, "cp", "-r", f"{_STAGE}/{file.name}", f"files/{folder}/")
        self.shell("rm", "-rf", _STAGE)

    def shell(self, *words: str) -> str:
        """What a command on the phone prints."""
        return _run(self.adb, "-s", self.name, "shell", *words)


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True)  # noqa: S603 (no shell; the words are ours)
    if done.returncode:
        raise UserError(f"{' '.join(command)}: {(done.stderr or done.stdout).strip() or done.returncode}")
    return done.stdout
