"""What native libraries write to stderr past Python: greetings and notes that no user can act on."""

import contextlib
import os
from collections.abc import Iterator


@contextlib.contextmanager
def muted() -> Iterator[None]:
    """Close the process's stderr for a while. What goes wrong comes as an exception all the same."""
    saved = os.dup(2)
    closed = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(closed, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(closed)
