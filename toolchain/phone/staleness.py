"""Whether the weights that a phone runs are known to be the newest."""

from collections.abc import Callable

from mnet.toolchain.contract.freshness import fresh_until
from mnet.toolchain.contract.keys import load_public_keys
from mnet.toolchain.phone.identity import Identity
from mnet.toolchain.phone.store import WeightStore

DAY_S = 24 * 3600
# How far what is kept may lag behind.
SAVED_EVERY_S = 3600


class Staleness:
    """Stale: for a day nobody has vouched that the running version is the newest.

    `report(event, **fields)` is called when that changes; `clock` gives Unix seconds.
    """

    def __init__(self, store: WeightStore, report: Callable[..., None], clock: Callable[[], float]) -> None:
        self._store, self._report, self._clock = store, report, clock
        self.stale = False
        self._counted = False
        kept, latest = store.fresh_until(), clock() + DAY_S
        # Where nothing is known, or a clock went back: a day.
        self._until = latest if kept is None else min(kept, latest)
        self._saved_until = kept or 0.0

    def hear(self, phone: Identity, asked: int, statement: str | None) -> None:
        """Note that there is nothing newer than version `asked`, if a known key says so."""
        if statement is None:
            return
        keys, now = load_public_keys(phone.keys), int(self._clock())
        try:
            until = fresh_until(
                statement, keys, device=phone.device, bundle=phone.bundle, version=asked, now=now
            )
        except ValueError:
            return  # as good as none
        self._fresh(until)

    def start_a_day(self) -> None:
        """A phone that was just enrolled is fresh for a day."""
        self._fresh(self._clock() + DAY_S)

    def _fresh(self, until: float) -> None:
        self._until = until
        if abs(until - self._saved_until) < SAVED_EVERY_S:
            return
        try:
            self._store.save_fresh_until(until)
            self._saved_until = until
        except OSError as error:
            self._report("not_persisted", detail=str(error))

    def look(self, version: int, tell: Callable[[int, str], bool]) -> None:
        """Notice that `version` became stale, or fresh again, and have the server count it once, by `tell`."""
        stale = self._clock() >= self._until
        if stale and not self.stale:
            self._report("stale", version=version, since=round(self._until))
        elif self.stale and not stale:
            self._report("fresh", version=version)
        if (stale or self.stale) and not self._counted:
            self._counted = tell(version, "stale")
        self.stale = stale
        self._counted &= stale
