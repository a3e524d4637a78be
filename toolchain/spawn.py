"""Processes that this one starts for its own work."""

import multiprocessing
import os
import signal
import threading
from multiprocessing.context import SpawnContext

# Not forked: PyTorch and its threads do not survive that.
CONTEXT: SpawnContext = multiprocessing.get_context("spawn")


def follow_parent() -> None:
    """For a process of CONTEXT: end by SIGTERM when its parent ends, however that does; ^C is for the parent alone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None, "this process was not started by multiprocessing"

    def follow() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=follow, name="parent", daemon=True).start()
