"""From uploaded contexts to signed releases that their devices can fetch, a batch at a time."""

import itertools
import logging
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence

from joserfc.jwk import ECKey

from toolchain.cloud.database import Database
from toolchain.cloud.generation import PackGenerator
from toolchain.cloud.metrics import Metrics
from toolchain.cloud.packs import PackFolder
from toolchain.cloud.release import Release, sign_release
from toolchain.cloud.waiting import Published

RELEASE_LIFETIME_S = 30 * 24 * 3600
MAX_BATCH = 64
# What a lone upload pays so that a crowd shares one forward pass and one transaction.
WINDOW_S = 0.003
_SWEPT_AT_ONCE = 500

log = logging.getLogger(__name__)


class Publisher:
    """Stores contexts at once and releases weights for them from one worker thread, newest context first.

    The worker takes what is queued, or MAX_BATCH of it: one forward pass, packs made durable, then one transaction
    with all releases. `released` is called from that thread with the new release of each device.
    """

    def __init__(
        self,
        database: Database,
        packs: PackFolder,
        generator: PackGenerator,
        key: ECKey,
        released: Callable[[Mapping[str, Published]], None],
        metrics: Metrics,
    ) -> None:
        self._database = database
        self._packs = packs
        self._generator = generator
        self._key = key
        self._released = released
        self._metrics = metrics
        self._queued: dict[str, None] = {}  # devices, first come first served, each once
        self._changed = threading.Condition()
        self._closing = False
        self._worker = threading.Thread(target=self._work, name="generation", daemon=True)
        self.last_failed = False
        metrics.watch_queue(lambda: len(self._queued))

    def start(self) -> None:
        """Start the worker, on what an earlier server accepted but did not release before it died."""
        self._sweep()
        self._queue(self._database.unreleased())
        self._worker.start()

    def close(self) -> None:
        """Finish the batch at hand; those still queued are found again by the next `start`."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._worker.ident is not None:
            self._worker.join()

    def accept(self, device: str, samples: Sequence[int]) -> int:
        """Store a context durably and queue its release; returns the version that it will have.

        Raises ValueError if the task cannot read the samples.
        """
        self._generator.check(samples)
        version = self._database.add_context(device, samples)
        self._queue([device])
        return version

    def push(self, devices: Sequence[str] | None) -> dict[str, int]:
        """Queue a new release for these devices, or all, from their last context; version by device.

        LookupError, and nothing done, if one of them has none.
        """
        versions = self._database.renew(devices)
        self._queue(versions)
        return versions

    def _queue(self, devices: Iterable[str]) -> None:
        with self._changed:
            self._queued.update(dict.fromkeys(devices))
            self._changed.notify()

    def _next_batch(self) -> list[str]:
        """Wait for devices, and a moment for more of them; empty when it is time to stop."""
        with self._changed:
            self._changed.wait_for(lambda: self._queued or self._closing)
            self._changed.wait_for(lambda: len(self._queued) >= MAX_BATCH or self._closing, WINDOW_S)
            if self._closing:
                return []
            batch = list(itertools.islice(self._queued, MAX_BATCH))
            for device in batch:
                del self._queued[device]
            return batch

    def _work(self) -> None:
        while batch := self._next_batch():
            try:
                self._publish(batch)
                self.last_failed = False
            except Exception as error:
                # One by one, so that a context that fails costs nobody else a release.
                log.warning("a batch of %d failed (%s): trying one by one", len(batch), type(error).__name__)
                went_well = [self._publish_alone(device) for device in batch]
                self.last_failed = not all(went_well)

    def _publish_alone(self, device: str) -> bool:
        try:
            self._publish([device])
        except Exception as error:
            # Where, not what: an error's message may quote the context.
            where = "".join(traceback.format_tb(error.__traceback__))
            log.error(
                "no release for device %s, its context is kept: %s\n%s", device, type(error).__name__, where
            )
            return False
        return True

    def _publish(self, devices: Sequence[str]) -> None:
        start = time.perf_counter()
        # Not every device: an earlier turn may have released the newest of several quick uploads.
        wanted = self._database.wanted(devices)
        if not wanted:
            return
        packs = self._generator.packs([each.samples for each in wanted], [each.version for each in wanted])
        digests = self._packs.put_all(packs)
        now = int(time.time())
        signed: list[tuple[Release, str]] = []
        for each, pack, sha256 in zip(wanted, packs, digests, strict=True):
            release = Release(
                device=each.device,
                bundle=each.bundle,
                version=each.version,
                sha256=sha256,
                size=len(pack),
                issued_at=now,
                expires_at=now + RELEASE_LIFETIME_S,
            )
            signed.append((release, sign_release(self._key, release)))
        unnamed = self._database.add_releases(signed)
        took_s = time.perf_counter() - start
        self._metrics.published(len(signed), took_s)
        self._released({release.device: Published(release.version, jws) for release, jws in signed})
        self._packs.discard(unnamed)
        versions = ", ".join(f"{release.device} version {release.version}" for release, _ in signed)
        log.info("released %d in %.1f ms: %s", len(signed), took_s * 1e3, versions)

    def _sweep(self) -> None:
        """Delete the packs that a killed server left without a release."""
        digests = self._packs.digests()
        while some := list(itertools.islice(digests, _SWEPT_AT_ONCE)):
            self._packs.discard(self._database.unnamed(some))
