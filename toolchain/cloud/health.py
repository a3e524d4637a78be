"""Three questions about a server: does it live, can it serve, and does it serve well?

An orchestrator restarts what does not live, a balancer passes over what is not ready, and people look at the quality:
one device whose context cannot be read is a matter of the last alone.
"""

import logging
import threading
import time
from collections.abc import Callable

from sqlalchemy.exc import DatabaseError

from mnet.toolchain.cloud.database import OUTAGE, Database, cause
from mnet.toolchain.cloud.pack_store import PackStore
from mnet.toolchain.object_store import StoreAway

FRESH_S = 1.0  # for which an answer counts, so that nobody makes a server write by asking
STORE_FRESH_S = 10.0  # a store may charge for each request

log = logging.getLogger(__name__)


class Health:
    """What the database and the store of packs said last."""

    def __init__(self, database: Database, packs: PackStore) -> None:
        self._database = database
        self._packs = packs
        self._turn = threading.Lock()
        self._looked: dict[str, tuple[float, str]] = {}

    def database(self) -> str:
        """`ok`, `damaged`, or `unreachable`: what is written to it is kept."""
        return self._lately("database", FRESH_S, self._look_at_database)

    def packs(self) -> str:
        """`ok`, or `unreachable`."""
        return self._lately("packs", STORE_FRESH_S, self._look_at_packs)

    def _lately(self, what: str, fresh_s: float, look: Callable[[], str]) -> str:
        at, found = self._looked.get(what, (float("-inf"), ""))
        if found == "ok" and time.monotonic() - at <= fresh_s:
            return found
        # One looks; whoever asks meanwhile is told what was found last, lest a database that hangs hold every thread.
        if not self._turn.acquire(blocking=not found):
            return found
        try:
            found = look()
            self._looked[what] = time.monotonic(), found
            return found
        finally:
            self._turn.release()

    def _look_at_database(self) -> str:
        try:
            self._database.probe()
        except OUTAGE as error:
            log.warning("the database takes nothing: %s", cause(error))
            return "unreachable"
        except DatabaseError as error:
            log.error("the database is damaged: %s", cause(error))
            return "damaged"
        return "ok" if self._database.damage is None else "damaged"

    def _look_at_packs(self) -> str:
        try:
            self._packs.probe()
        except StoreAway as error:
            log.warning("the store of packs takes nothing: %s", cause(error))
            return "unreachable"
        return "ok"
