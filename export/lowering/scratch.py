"""Files that a runtime must read weights from, and that nobody may write to once it did."""

import contextlib
import itertools
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path


class ScratchFolder:
    """A temporary folder, removed with its owner, for files that live until the runtime has opened them.

    Each gets a new name: runtimes map files into memory, where writing to one would change live weights. A
    new file is also written far faster than an older one is overwritten.
    """

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="mnet-"))
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._numbers = itertools.count()

    @contextlib.contextmanager
    def new(self, suffix: str) -> Iterator[Path]:
        """The path of a file yet to be written. Its name goes at the end; what was mapped of it stays."""
        path = self._folder / f"{next(self._numbers)}{suffix}"
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)
