"""The host phone: serves one bundle, and takes new weights only when they pass every check."""

import time
from collections.abc import Callable
from pathlib import Path

from mnet.export.format.bundle import Bundle
from mnet.export.format.errors import Reason, Refused
from mnet.export.format.packs import read_pack
from mnet.export.session import Snapshot, open_session
from mnet.toolchain.contract.keys import KeyStatement, Roots, load_public_keys, signer
from mnet.toolchain.contract.release import Release, verify_release
from mnet.toolchain.errors import UserError
from mnet.toolchain.phone.client import CloudClient, Context, Denied, Identity, Newest, Offline
from mnet.toolchain.phone.key_trust import as_enrolled, newer_statement, trusting, under_roots
from mnet.toolchain.phone.refused_packs import RefusedPacks
from mnet.toolchain.phone.staleness import DAY_S, Staleness
from mnet.toolchain.phone.store import Kept, WeightStore, check_bytes
from mnet.toolchain.phone.swapped import Swapped

# Room for the header of a pack, in addition to its tensors.
PACK_HEADER_BYTES = 64 * 1024

Report = Callable[..., None]


class Phone:
    """One phone: a session on its bundle, its state folder, and what it knows of its server.

    `live` may be used from any thread while another one calls the rest. `report(event, **fields)` is called with what
    happens.
    """

    def __init__(
        self,
        bundle: Bundle,
        state: Path,
        report: Report,
        clock: Callable[[], float] = time.time,
        roots: Roots | None = None,
    ) -> None:
        """Start on the last good version in `state`, else on the bundle's default weights.

        `clock` is the phone's own, in Unix seconds. `roots` that come with the app count more than what a server says
        when the phone enrols: nothing is taken before these roots have vouched for the server's keys.

        Raises BundleError for a bundle that cannot be served, UserError for a state of another bundle.
        """
        self._bundle = bundle
        self._store = WeightStore(state)
        self._report = report
        self._clock = clock
        self._roots = roots
        self._running: Kept | None = None
        self._newest_seen = 0
        self.not_made = 0  # the version that, by the last poll, did not come of the last context
        self._refused = RefusedPacks()
        self._keys_asked_at: float | None = None  # by the phone's own clock
        try:
            self._session = open_session(bundle)
            self._identity = self._kept_identity()
            if self._identity is not None and self._identity.bundle != bundle.id:
                raise UserError(f"{state} is of a phone with another bundle: give this one its own --state")
        except BaseException:
            self._store.close()
            raise
        self._staleness = Staleness(self._store, report, clock)
        if self._identity is not None:
            self._restore(self._identity)

    def close(self) -> None:
        """Let another phone have the state folder; what runs may still be used."""
        self._store.close()

    def _kept_identity(self) -> Identity | None:
        """Who this phone is; a damaged file is reported, and the phone serves as one that is not enrolled."""
        try:
            return self._store.identity()
        except Refused as refusal:
            self._report("refused", reason=str(refusal.reason), detail=refusal.detail, at="start")
            return None

    @property
    def live(self) -> Snapshot:
        """The weights that answer now, to run and to know their version by; 0 is the default pack."""
        return self._session.live

    @property
    def version(self) -> int:
        """The version that answers now."""
        return self.live.version

    @property
    def running(self) -> Release | None:
        """The release that answers now; None on the default weights."""
        return None if self._running is None else self._running.release

    @property
    def enrolled(self) -> bool:
        """Whether a server knows this phone."""
        return self._identity is not None

    @property
    def stale(self) -> bool:
        """Whether nobody has vouched for a day that what runs is the newest; what to do then is for the app to say."""
        return self._staleness.stale

    @property
    def _newer_than(self) -> int:
        """Only versions above this one are taken.

        It is the running version, or just below a newer one that was kept but is damaged: that one may come
        again, an older one may not.
        """
        return max(self.version, self._newest_seen - 1)

    def enrol(self, client: CloudClient, enrolment_key: str, cohort: str | None = None) -> None:
        """Become known to the server, in this cohort if one is given, and pin its keys. Raises Offline or Denied."""
        identity = as_enrolled(client.enrol(enrolment_key, self._bundle.id, cohort), self._roots)
        self._store.save_identity(identity)
        self._identity = identity
        self._staleness.start_a_day()
        self._report("enrolled", device=identity.device)

    def upload(self, client: CloudClient, samples: Context) -> int:
        """Upload a context; returns the version that will stem from it. Raises Offline or Denied."""
        return client.upload(self._known(), samples)

    def report(self, metric: str, value: float) -> None:
        """Keep a value of the app's own metric, such as a click or a rating, for the release that runs at this moment.

        The next poll sends it, as part of the totals of that release; the default weights are of none, and nothing is
        kept for them. Raises ValueError for what is no metric or value (`mnet.toolchain.contract.measurement`).
        """
        self._store.measurements.add(self.version, metric, value)

    def poll(self, client: CloudClient, wait_s: float) -> Swapped | None:
        """Send what was measured, wait for a newer release and take it.

        Raises Offline or Denied, and Refused where the new weights fail a check: the running ones stay.
        """
        swapped = None
        self._store.measurements.send(client, self._known())
        try:
            swapped = self._look(client, self._known(), wait_s)
            return swapped
        finally:
            if swapped is None:
                phone = self._known()
                self._staleness.look(self.version, lambda *what: self._tell(client, phone, *what))

    def _look(self, client: CloudClient, phone: Identity, wait_s: float) -> Swapped | None:
        asked, newest = self._offered(client, phone, wait_s)
        phone = self._learn_keys(client, phone, newest.release)
        self.not_made = newest.not_made
        if newest.release is None:
            self._staleness.hear(phone, asked, newest.nothing_newer)
            return None
        return self._consider(client, phone, newest.release)

    def _consider(self, client: CloudClient, phone: Identity, jws: str) -> Swapped | None:
        """Take a release, unless it was refused before."""
        release = self._verify(phone, jws, newer_than=self._newer_than, now=int(self._clock()))
        named = release.version, release.sha256
        if named in self._refused:
            return None
        try:
            swapped = self._take(client, phone, Kept(jws, release))
        except Refused as refusal:
            self._refused.note(named, refusal.reason)
            self._tell(client, phone, release.version, refusal.reason)
            raise
        self._tell(client, phone, release.version, "taken")
        return swapped

    def _offered(self, client: CloudClient, phone: Identity, wait_s: float) -> tuple[int, Newest]:
        """The newest release that is worth a look, and the version above which it was asked for."""
        refused = self._refused.version
        asked = max(self._newer_than, refused)
        newest = client.newest_release(phone, asked, wait_s)
        if newest.release is None and refused > self._newer_than:
            # A roll-out that was stopped for its refusals gives way to the release before it.
            asked = self._newer_than
            newest = client.newest_release(phone, asked, 0)
        return asked, newest

    def _take(self, client: CloudClient, phone: Identity, new: Kept) -> Swapped:
        """Fetch the pack of a verified release, swap it in and keep it."""
        release, start = new.release, time.perf_counter()
        if release.size > self._bundle.manifest.generated_bytes + PACK_HEADER_BYTES:
            raise Refused(Reason.WRONG_SIZE, f"a pack of {release.size} bytes is too large for this bundle")
        pack = client.fetch_pack(phone, release.sha256, release.size)
        fetched = time.perf_counter()
        self._swap(release, pack)
        swapped, at = time.perf_counter(), time.monotonic()
        return Swapped(
            version=release.version,
            sha256=release.sha256,
            bytes=len(pack),
            fetch_ms=(fetched - start) * 1e3,
            swap_us=(swapped - fetched) * 1e6,
            at=at,
            persisted=self._persist(new, pack),
        )

    def _tell(self, client: CloudClient, phone: Identity, version: int, outcome: str) -> bool:
        """Report to the server what became of a release; returns whether that arrived."""
        try:
            client.report(phone, version, outcome)
        except (Offline, Denied) as error:
            self._report("not_reported", version=version, detail=str(error))
            return False
        return True

    def _learn_keys(self, client: CloudClient, phone: Identity, jws: str | None) -> Identity:
        """The server's keys, if a known one vouches for them; asked for daily, and where an unknown one signed `jws`.

        Raises Offline or Denied only where there is an unknown one, or where the app's roots have yet to vouch for any.
        """
        known = {key["kid"] for key in phone.keys["keys"] if "kid" in key}
        asking = under_roots(phone, self._roots)
        unknown = asking is not phone or (jws is not None and signer(jws) not in known)
        now, asked_at = self._clock(), self._keys_asked_at
        if not unknown and asked_at is not None and 0 <= now - asked_at < DAY_S:
            return phone
        try:
            statement = newer_statement(client, asking, int(now))
        except (Offline, Denied):
            if unknown:
                raise
            return phone
        self._keys_asked_at = now
        return phone if statement is None else self._trust(asking, statement)

    def _trust(self, phone: Identity, statement: KeyStatement) -> Identity:
        """Believe these keys only from now on; a full disk costs them at the next start, not now."""
        learnt = trusting(phone, statement)
        if learnt.epoch > phone.epoch:
            self._start_over()
        if learnt.keys != phone.keys:
            self._report("keys_learnt", keys=len(learnt.keys["keys"]), epoch=learnt.epoch)
        self._identity = learnt
        try:
            self._store.save_identity(learnt)
        except OSError as error:
            self._report("not_persisted", detail=str(error))
        return learnt

    def _start_over(self) -> None:
        """Run nothing that a stolen key may have signed, and count versions from the start."""
        self._session = open_session(self._bundle)
        self._running, self._newest_seen, self._refused = None, 0, RefusedPacks()
        try:
            self._store.clear_versions()
        except OSError as error:
            self._report("not_persisted", detail=str(error))

    def _known(self) -> Identity:
        assert self._identity is not None, "enrol first"
        return self._identity

    def _verify(self, phone: Identity, jws: str, *, newer_than: int, now: int | None) -> Release:
        kept = [] if now is not None else phone.retired["keys"]  # who accepted it then may run it now
        keys = load_public_keys({"keys": [*phone.keys["keys"], *kept]})
        return verify_release(
            jws, keys, device=phone.device, bundle=self._bundle.id, newer_than=newer_than, now=now
        )

    def _swap(self, release: Release, pack: bytes) -> None:
        check_bytes(pack, release)
        if (version := read_pack(pack, self._bundle.manifest).version) != release.version:
            raise Refused(Reason.MALFORMED, f"release {release.version} names a pack of version {version}")
        self._session.swap(pack)

    def _persist(self, new: Kept, pack: bytes) -> bool:
        """Keep the version that now runs; a full disk costs it at the next start, not now."""
        try:
            self._store.save(new, pack, self._running)
        except OSError as error:
            self._report("not_persisted", version=new.release.version, detail=str(error))
            return False
        finally:
            self._running = new
        return True

    def _restore(self, phone: Identity) -> None:
        """Swap in the newest kept version that passes every check again; without one, the default stays."""
        for jws in self._store.releases():
            try:
                release = self._verify(phone, jws, newer_than=0, now=None)
                self._newest_seen = max(self._newest_seen, release.version)
                self._swap(release, self._store.pack(release))
            except Refused as refusal:
                self._report("refused", reason=str(refusal.reason), detail=refusal.detail, at="start")
                continue
            self._running = Kept(jws, release)
            return
