"""What a replica does periodically: learn of the others' releases, take over their work, delete what is old."""

import logging
import threading
import time
from collections.abc import Callable

from mnet.toolchain.cloud.database import OUTAGE, cause
from mnet.toolchain.cloud.ledger import Ledger
from mnet.toolchain.cloud.logs import where
from mnet.toolchain.cloud.long_polls import LongPolls, Published
from mnet.toolchain.cloud.metrics import Metrics
from mnet.toolchain.cloud.pack_store import PackStore
from mnet.toolchain.cloud.publishing import Publisher

NEWS_S = 0.2
TAKE_OVER_S = 5.0  # how long an accepted context waits for the replica that took it
SWEEP_S = 3600.0
# A pack without a release is one of a replica that died in between, or of a batch under way.
ORPHANED_S = 3600.0
HISTORY_S = 90 * 24 * 3600
SCRUB_S = 60.0
COUNT_S = 30.0

log = logging.getLogger(__name__)


class Maintenance:
    """A thread next to the publisher's; each of its jobs has a period, and a failing one waits for its next turn."""

    def __init__(
        self,
        ledger: Ledger,
        packs: PackStore,
        publisher: Publisher,
        long_polls: LongPolls,
        retain_days: float | None,
        metrics: Metrics,
        scrub: Callable[[], None] = lambda: None,
        keep_fetches: Callable[[], None] = lambda: None,
        stop_worse: Callable[[], None] = lambda: None,
        count: Callable[[], None] = lambda: None,
    ) -> None:
        """`scrub` is called now and then, to wipe what was deleted from where it may still lie, and `keep_fetches` to
        write down which packs were fetched, `stop_worse` to stop the roll-outs that harm a metric, and `count` for what
        metrics say of the whole fleet.
        """
        self.count = count
        self.keep_fetches = keep_fetches
        self.stop_worse = stop_worse
        self._ledger = ledger
        self._packs = packs
        self._publisher = publisher
        self._long_polls = long_polls
        self._retain_days = retain_days
        self._metrics = metrics
        self._scrub = scrub
        self._seen = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="maintenance", daemon=True)

    def start(self) -> None:
        """Start the thread; releases made from now on are news."""
        self._seen = self._ledger.newest_id()
        self._thread.start()

    def close(self) -> None:
        """Finish the running job."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def spread_news(self) -> None:
        """Hand the releases of other replicas to the devices that wait here."""
        for new in self._ledger.news(self._seen):
            key = new.device, new.bundle
            if key in self._long_polls:
                jws = self._ledger.release_after(*key, new.version - 1)
                if jws is not None:
                    self._long_polls.wake({key: Published(new.version, jws)})
            self._seen = new.id

    def take_over(self) -> None:
        """Release what another replica accepted and should have released by now."""
        self._publisher.take_up(before=time.time() - TAKE_OVER_S)

    def forget(self) -> None:
        """Delete contexts over their time, and the history of releases that are long gone."""
        now = time.time()
        contexts = None if self._retain_days is None else now - self._retain_days * 24 * 3600
        self._ledger.forget(contexts_before=contexts, releases_before=int(now - HISTORY_S))

    def sweep(self, older_than_s: float = ORPHANED_S) -> None:
        """Delete the packs that a killed replica left without a release, or half written."""
        before = time.time() - older_than_s
        self._packs.tidy(before)
        for packs in self._packs.older_than(before):
            if self._stop.is_set():
                return
            if packs:
                self._packs.discard(set(packs) - self._ledger.named(packs))

    def scrub(self) -> None:
        """Wipe what was deleted from where it may still lie."""
        self._scrub()

    def _work(self) -> None:
        jobs: list[tuple[Callable[[], None], float]] = [
            (self.spread_news, NEWS_S),
            (self._metrics.look, NEWS_S),
            (self.keep_fetches, NEWS_S),
            (self.take_over, TAKE_OVER_S),
            (self.stop_worse, TAKE_OVER_S),
            (self.forget, TAKE_OVER_S),
            (self.sweep, SWEEP_S),
            (self.scrub, SCRUB_S),
            (self.count, COUNT_S),
        ]
        due = {job: time.monotonic() + period for job, period in jobs}
        due[self.count] = time.monotonic()
        while not self._stop.wait(NEWS_S):
            for job, period in jobs:
                if time.monotonic() >= due[job]:
                    self._try(job)
                    due[job] = time.monotonic() + period

    def _try(self, job: Callable[[], None]) -> None:
        try:
            job()
        except (*OUTAGE, OSError) as error:
            log.warning("%s has to wait: %s", job.__name__, cause(error))
        except Exception as error:  # an unforeseen failure of one job must not end the others
            log.error("%s failed: %s\n%s", job.__name__, type(error).__name__, where(error))
