"""From an uploaded context to a signed release that its device can fetch."""

import logging
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from joserfc.jwk import ECKey

from toolchain.cloud.database import Database, Wanted
from toolchain.cloud.generation import PackGenerator
from toolchain.cloud.packs import PackFolder
from toolchain.cloud.release import Release, sign_release

RELEASE_LIFETIME_S = 30 * 24 * 3600

log = logging.getLogger(__name__)


class Publisher:
    """Stores contexts at once and releases weights for them from one worker thread, newest context first.

    `released` is called from that thread with the id of a device that has a new release.
    """

    def __init__(
        self,
        database: Database,
        packs: PackFolder,
        generator: PackGenerator,
        key: ECKey,
        released: Callable[[str], None],
    ) -> None:
        self._database = database
        self._packs = packs
        self._generator = generator
        self._key = key
        self._released = released
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="generation")
        self.last_failed = False

    def resume(self) -> None:
        """Queue what an earlier server accepted but did not release before it died."""
        self._queue(self._database.unreleased())

    def close(self) -> None:
        """Finish the release at hand; those still queued are found again by `resume`."""
        self._worker.shutdown(wait=True, cancel_futures=True)

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
        for device in devices:
            self._worker.submit(self._publish, device)

    def _publish(self, device: str) -> None:
        try:
            # None: an earlier turn already released the newest of several quick uploads.
            if (wanted := self._database.wanted(device)) is not None:
                self._release(device, wanted)
            self.last_failed = False
        except Exception as error:
            self.last_failed = True
            # Where, not what: an error's message may quote the context.
            where = "".join(traceback.format_tb(error.__traceback__))
            log.error(
                "no release for device %s, its context is kept: %s\n%s", device, type(error).__name__, where
            )

    def _release(self, device: str, wanted: Wanted) -> None:
        start = time.perf_counter()
        pack = self._generator.pack(wanted.samples, wanted.version)
        now = int(time.time())
        release = Release(
            device=device,
            bundle=wanted.bundle,
            version=wanted.version,
            sha256=self._packs.put(pack),
            size=len(pack),
            issued_at=now,
            expires_at=now + RELEASE_LIFETIME_S,
        )
        self._database.add_release(release, sign_release(self._key, release))
        self._released(device)
        took_ms = (time.perf_counter() - start) * 1e3
        log.info("device %s: version %d, %d bytes, %.1f ms", device, wanted.version, len(pack), took_ms)
