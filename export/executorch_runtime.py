"""ExecuTorch's wheel, as the targets `android` and `executorch` run it on the host."""

import functools
import importlib
import importlib.metadata
import os
from typing import Any

from export.manifest import Runtime


def runtime() -> Runtime:
    """ExecuTorch as installed here."""
    return Runtime(name="executorch", version=importlib.metadata.version("executorch"))


@functools.cache
def library() -> Any:
    """ExecuTorch's Python binding, set to one thread: a second one costs a compact model more than it saves.

    The compiled module is imported as it is: its public wrapper loads the whole exporter, 3 s at each start.
    The number of threads can be set only before a method is loaded. Both write to stderr from C++, so that is
    closed.
    """
    saved = os.dup(2)
    closed = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(closed, 2)
        library = importlib.import_module("executorch.extension.pybindings._C")
        library._unsafe_reset_threadpool(1)
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(closed)
    return library
