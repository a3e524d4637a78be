"""From uploaded contexts to signed releases that their devices can fetch, a batch at a time."""

import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from mnet.toolchain.cloud.database import OUTAGE, cause
from mnet.toolchain.cloud.generation import PackGenerator, ServedBundle
from mnet.toolchain.cloud.ledger import Issued, Ledger, Wanted
from mnet.toolchain.cloud.logs import where
from mnet.toolchain.cloud.long_polls import Published
from mnet.toolchain.cloud.metrics import Metrics
from mnet.toolchain.cloud.pack_maker import PackMaker
from mnet.toolchain.cloud.pack_store import SHARED, PackStore
from mnet.toolchain.cloud.recovery import TRIES
from mnet.toolchain.cloud.registry import Registry
from mnet.toolchain.cloud.signing_keys import Keyring
from mnet.toolchain.contract.keys import signer
from mnet.toolchain.contract.release import Release, sign_release, stated_release

RELEASE_LIFETIME_S = 30 * 24 * 3600
# Of a release that is given out: enough for a slow phone, and for one whose clock is ahead.
LEAST_LIFETIME_S = 24 * 3600
MAX_BATCH, MAX_PUSHED = 64, 256  # where a phone waits for its upload, and where none does
# What a lone upload pays so that a crowd shares one forward pass and one transaction.
WINDOW_S = 0.003
RETRY_S = 60.0  # until a context that failed is tried again
PAUSE_S = 1.0  # after a batch that failed for no known reason

Generators = Mapping[str, ServedBundle]  # by the id of the bundle that each writes packs for

log = logging.getLogger(__name__)


class Publisher:
    """Stores contexts at once and releases weights for them from one worker thread, first come first served.

    The worker takes what is queued, or MAX_BATCH of it: one forward pass a bundle, packs made durable, then one
    transaction with all releases. `released` is called from that thread with the new release of each device and
    bundle. `salt` is as of `PackMaker`. `generators` and `keyring` may be replaced at any time; the running batch ends
    with the old ones.
    """

    def __init__(
        self,
        registry: Registry,
        ledger: Ledger,
        packs: PackStore,
        generators: Generators,
        keyring: Keyring,
        released: Callable[[Mapping[tuple[str, str], Published]], None],
        metrics: Metrics,
        salt: Callable[[str], str] | None = None,
    ) -> None:
        self.generators = generators
        self.keyring = keyring
        self._registry = registry
        self._ledger = ledger
        self._packs = packs
        self._released = released
        self._metrics = metrics
        # Devices, first come first served, each once; what an operator pushed waits for what phones ask for.
        self._queued: dict[str, None] = {}
        self._later: dict[str, None] = {}
        self._changed = threading.Condition()
        self._closing = False
        self._worker = threading.Thread(target=self._work, name="generation", daemon=True)
        self._last_failed = False
        self._maker = PackMaker(ledger, packs, self.lost, salt)
        metrics.watch_queue(lambda: len(self._queued) + len(self._later))

    def start(self) -> None:
        """Start the worker, on what an earlier server accepted but did not release before it died."""
        self.take_up(before=float("inf"))
        self._worker.start()

    def close(self) -> None:
        """Finish the running batch; those still queued are found again by another replica or the next start."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._worker.ident is not None:
            self._worker.join()

    def take_up(self, before: float) -> None:
        """Queue every device that has waited since `before`: whoever was to release for it died, or failed."""
        self.queue(self._ledger.unreleased(self.generators.keys(), before), later=True)

    def queue(self, devices: Iterable[str], *, later: bool = False) -> None:
        """Have the newest wanted version of these devices released; `later`: when no other device waits."""
        with self._changed:
            for device in devices:
                if not later:
                    self._later.pop(device, None)
                    self._queued[device] = None
                elif device not in self._queued:
                    self._later[device] = None
            self._changed.notify()

    def signed_now(self, jws: str) -> str:
        """A stored release as its device can take it: signed again where the key has gone or it is about to expire."""
        claims, now = stated_release(jws), int(time.time())
        known = {key.kid for key in (self.keyring.signing, *self.keyring.retiring)}
        if signer(jws) in known and claims.expires_at > now + LEAST_LIFETIME_S:
            return jws
        renewed = replace(claims, issued_at=now, expires_at=now + RELEASE_LIFETIME_S)
        return sign_release(self.keyring.signing, renewed)

    @property
    def pushed_waiting(self) -> int:
        """How many devices are queued that wait for what no phone asked for."""
        return len(self._later)

    @property
    def last_failed(self) -> bool:
        """Whether the last batch failed altogether: not by what one device sent, but by what all need."""
        return self._last_failed

    @property
    def alive(self) -> bool:
        """Whether somebody is there to make the next batch."""
        return self._worker.ident is None or self._worker.is_alive() or self._closing

    def accept(self, device: str, samples: Sequence[Any]) -> int:
        """Store a context durably and queue its release; returns the version that it will have.

        Raises ValueError if the task cannot read the samples, LookupError if no bundle of the device is served here.
        """
        generators = self.generators
        served = [generators.get(bundle) for bundle in self._registry.bundles(device)]
        generating = [each for each in served if isinstance(each, PackGenerator)]
        if not generating:
            raise LookupError("this server generates for none of the bundles that the device runs")
        for generator in generating:
            generator.check(samples)
        version = self._ledger.add_context(device, samples)
        self.queue([device])
        return version

    def lost(self, device: str, owner: str, sha256: str) -> None:
        """A pack that a release of this device names is not in the store: have the device get weights again."""
        log.error("the pack %s of device %s is lost from the store: it is made again", sha256[:12], device)
        self._metrics.lost_packs.inc()
        if self._ledger.recovery.withdraw(device, owner, sha256):
            self.queue([device])

    @property
    def _due(self) -> int:
        return len(self._queued) + len(self._later)

    def _next_batch(self) -> list[str]:
        """Wait for devices, and a moment for more of them; empty when it is time to stop."""
        with self._changed:
            self._changed.wait_for(lambda: self._due or self._closing)
            self._changed.wait_for(lambda: self._due >= MAX_BATCH or self._closing, WINDOW_S)
            if self._closing:
                return []
            most = MAX_BATCH if self._queued else MAX_PUSHED
            batch = list(itertools.islice(itertools.chain(self._queued, self._later), most))
            for device in batch:
                (self._queued if device in self._queued else self._later).pop(device)
            return batch

    def _work(self) -> None:
        while batch := self._next_batch():
            try:
                self._last_failed = not self._publish_or_split(batch)
            except OUTAGE as error:
                # `take_up` finds them again when all three are back.
                log.warning(
                    "the database, the store or the signing key failed (%s): %d releases wait",
                    cause(error),
                    len(batch),
                )
                self._last_failed = True
            except Exception as error:
                # As a database that became read-only; the thread has to outlive whatever it is.
                log.error(
                    "no releases for %d devices: %s\n%s", len(batch), type(error).__name__, where(error)
                )
                self._last_failed = True
                with self._changed:
                    self._changed.wait_for(lambda: self._closing, PAUSE_S)

    def _publish_or_split(self, devices: Sequence[str]) -> bool:
        try:
            self._publish(devices)
        except OUTAGE:
            raise
        except Exception as error:
            # One by one, so that a context that fails costs nobody else a release.
            log.warning("a batch of %d failed (%s): trying one by one", len(devices), type(error).__name__)
            if failed := [device for device in devices if not self._publish_alone(device)]:
                self._metrics.failed_contexts.inc(len(failed))
                dropped = self._ledger.recovery.failed(failed, RETRY_S)
                if dropped:
                    log.error("nothing will come of what %s sent, after %d tries", ", ".join(dropped), TRIES)
        return True

    def _publish_alone(self, device: str) -> bool:
        try:
            self._publish([device])
        except OUTAGE:
            raise
        except Exception as error:
            kind = type(error).__name__
            log.error("no release for device %s, its context is kept: %s\n%s", device, kind, where(error))
            return False
        return True

    def _publish(self, devices: Sequence[str]) -> None:
        start, generators = time.perf_counter(), self.generators
        # Not every device: an earlier turn, or another replica, may have released the newest of several quick uploads.
        wanted = [each for each in self._ledger.wanted(devices) if each.bundle in generators]
        if not wanted:
            return
        by_bundle = {
            bundle: list(some)
            for bundle, some in groupby(sorted(wanted, key=lambda w: w.bundle), lambda w: w.bundle)
        }
        packs = [
            made for bundle, some in by_bundle.items() for made in self._maker.make(generators[bundle], some)
        ]
        digests = self._packs.put_all([(owner, pack) for _, owner, pack in packs])
        issued = [
            self._sign(each, len(pack), sha256, shared=owner == SHARED)
            for (each, owner, pack), sha256 in zip(packs, digests, strict=True)
        ]
        added = self._ledger.add_releases(issued)
        took_s = time.perf_counter() - start
        self._metrics.published(len(added.published), took_s)
        self._released(
            {
                (each.release.device, each.release.bundle): Published(each.release.version, each.jws)
                for each in added.published
            }
        )
        self._packs.discard(added.useless)
        versions = [f"{each.release.device} version {each.release.version}" for each in added.published]
        log.info("released %d in %.1f ms: %s", len(versions), took_s * 1e3, ", ".join(versions))

    def _sign(self, wanted: Wanted, size: int, sha256: str, *, shared: bool) -> Issued:
        now = int(time.time())
        release = Release(
            device=wanted.device,
            bundle=wanted.bundle,
            version=wanted.version,
            sha256=sha256,
            size=size,
            issued_at=now,
            expires_at=now + RELEASE_LIFETIME_S,
        )
        jws = sign_release(self.keyring.signing, release)
        return Issued(release, jws, wanted.rollout, shared, wanted.held_out)
