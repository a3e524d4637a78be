"""ExecuTorch's wheel, as the targets `android` and `executorch` run it on the host."""

import functools
import importlib
import importlib.metadata
from typing import Any

from export.manifest import Runtime
from export.stderr import muted


def runtime() -> Runtime:
    """ExecuTorch as installed here."""
    return Runtime(name="executorch", version=importlib.metadata.version("executorch"))


@functools.cache
def library() -> Any:
    """ExecuTorch's Python binding, set to one thread: a second one costs a compact model more than it saves.

    The compiled module is imported as it is: its public wrapper loads the whole exporter, 3 s at each start.
    The number of threads can be set only before a method is loaded. Both write to stderr from C++.
    """
    with muted():
        library = importlib.import_module("executorch.extension.pybindings._C")
        library._unsafe_reset_threadpool(1)
    return library
