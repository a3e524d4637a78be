"""What is made once in a run of the tests, whichever of its workers (`pytest -n 2`) needs it first."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from filelock import FileLock

from android_demo.hosttest.tools import Absent

T = TypeVar("T")


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """The folder `name`, which `make` fills; the other worker waits for it. Tests leave it as it is."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    complete = folder.with_name(f"{name}.complete")
    with FileLock(f"{folder}.lock"):
        if not complete.exists():
            shutil.rmtree(folder, ignore_errors=True)  # another worker failed at it
            folder.mkdir()
            make(folder)
            complete.touch()
    return folder


def one_at_a_time(place: Path) -> FileLock:
    """To be held while something is built at `place` in the repository, which both workers build in."""
    place.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(f"{place}.lock")


def built_or_skipped(place: Path, build: Callable[[], T]) -> T:
    """What `build` gives, by one worker at a time; skips the test where a tool is absent, and names it."""
    try:
        with one_at_a_time(place):
            return build()
    except Absent as absent:
        pytest.skip(f"absent: {absent}")
