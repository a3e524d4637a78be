"""Brings the fleet to what operators want of it, while there is something to do."""

import logging
import threading

from mnet.toolchain.cloud.database import OUTAGE, cause
from mnet.toolchain.cloud.logs import where
from mnet.toolchain.cloud.publishing import Publisher
from mnet.toolchain.cloud.rollouts import Rollouts

LOOK_S = 0.5  # between two looks for what another replica, or a dead one, left to do
ROOM = 250  # pushed devices that may wait here when more are asked for: a replica takes what it can make soon
ROOM_S = 0.02

log = logging.getLogger(__name__)


class Reconciler:
    """A thread that asks for devices of unfinished roll-outs, as many as this replica can make releases for."""

    def __init__(self, rollouts: Rollouts, publisher: Publisher) -> None:
        self._rollouts = rollouts
        self._publisher = publisher
        self._awake = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="reconciler", daemon=True)

    def start(self) -> None:
        """Start the thread, on what is left to do."""
        self._thread.start()

    def wake(self) -> None:
        """Look now: what is wanted has changed."""
        self._awake.set()

    def close(self) -> None:
        """Finish the turn under way; the rest is for another replica, or the next start."""
        self._stop.set()
        self._awake.set()
        if self._thread.ident is not None:
            self._thread.join()

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def _work(self) -> None:
        while not self._stop.is_set():
            self._awake.wait(LOOK_S)
            self._awake.clear()
            try:
                while self._turn():
                    pass
            except OUTAGE as error:
                log.warning("roll-outs have to wait: %s", cause(error))
                self._stop.wait(LOOK_S)
            except Exception as error:  # an unforeseen failure must not end the thread
                log.error("a roll-out failed: %s\n%s", type(error).__name__, where(error))
                self._stop.wait(LOOK_S)

    def _turn(self) -> bool:
        """Ask for some devices of each unfinished roll-out; False where there is none, or no time."""
        while self._publisher.pushed_waiting > ROOM:
            if self._stop.wait(ROOM_S):
                return False
        stages = self._rollouts.advance()
        for stage in stages:
            self._publisher.queue(stage.versions, later=True)
        return bool(stages) and not self._stop.is_set()
