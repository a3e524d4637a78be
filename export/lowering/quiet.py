"""What exporters and native libraries say that no user can act on. What goes wrong comes as an exception."""

import contextlib
import io
import logging
import os
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep log lines, warnings and progress bars of others off the terminal.

    What shall be seen meanwhile, as our own progress, must hold its stream itself and not use `sys.stderr`.
    """
    previous = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(previous)


@contextlib.contextmanager
def muted() -> Iterator[None]:
    """Close the process's stderr for a moment, for what native libraries write there past Python."""
    saved = os.dup(2)
    closed = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(closed, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(closed)
