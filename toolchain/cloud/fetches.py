"""Which packs were fetched, kept for a moment so that not every download is a transaction."""

import threading
from collections.abc import Collection

from sqlalchemy import bindparam, update

from mnet.toolchain.cloud.database import Database
from mnet.toolchain.cloud.tables import IssuedRelease

_FETCHED = (
    update(IssuedRelease)
    .where(IssuedRelease.device == bindparam("of"), IssuedRelease.sha256 == bindparam("pack"))
    .values(fetched=True)
)


class Fetches:
    """The last downloads of one process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._turn = threading.Lock()
        self._packs: dict[str, set[str]] = {}

    def note(self, device: str, sha256: str) -> None:
        """A device has been sent a whole pack, or the rest of one."""
        with self._turn:
            self._packs.setdefault(device, set()).add(sha256)

    def take(self, device: str) -> Collection[str]:
        """What the device fetched that is not kept yet; it is for the caller to keep."""
        with self._turn:
            return self._packs.pop(device, set())

    def keep(self) -> None:
        """Write down all of it."""
        with self._turn:
            packs, self._packs = self._packs, {}
        rows = [{"of": device, "pack": sha256} for device in sorted(packs) for sha256 in packs[device]]
        if rows:
            with self._database.writing() as connection:
                connection.execute(_FETCHED, rows)
