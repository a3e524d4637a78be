package mnet.core

import java.io.Closeable
import java.io.IOException

/** What happens to a phone, for a screen or a log. */
sealed class PhoneEvent {
    /** The server answers (again). */
    object Connected : PhoneEvent()

    class Enrolled(val device: String) : PhoneEvent()
    class Uploaded(val samples: Int, val version: Long) : PhoneEvent()

    /** [swapNanos]: verify, bind, self-test and publish. [persisted] is false where the disk was full. */
    class Swapped(
        val version: Long, val bytes: Int, val fetchNanos: Long, val swapNanos: Long, val persisted: Boolean,
    ) : PhoneEvent()

    class RefusedWeights(val reason: Reason, val detail: String) : PhoneEvent()
    class MustWait(val millis: Long) : PhoneEvent()
    class WentOffline(val detail: String) : PhoneEvent()
    class WasDenied(val status: Int, val detail: String) : PhoneEvent()
}

/**
 * One phone: a model that serves, what it keeps over a restart, and what it knows of its server.
 *
 * [live] and [upload] may be called from any thread; [enrol], [poll] and [reset] take turns. The same rules in the same
 * order as `toolchain/phone/phone.py`.
 */
class Phone(
    private val bundle: Bundle,
    program: Program,
    private val store: WeightStore,
    private val report: (PhoneEvent) -> Unit,
) : Closeable {
    private val controller = SwapController(bundle, program)
    private var newestSeen = 0L

    /** By [System.nanoTime]; before it, the server takes no upload. */
    @Volatile
    private var uploadsFrom = System.nanoTime()

    @Volatile
    private var identity: Identity? = store.identity()

    /** The release that answers now; null on the default weights. */
    @Volatile
    var running: Kept? = null
        private set

    init {
        val known = identity
        if (known != null && known.bundle != bundle.id) {
            // The app came with a new bundle: what the server sent for the old one fits no more.
            store.clearVersions()
        } else if (known != null) {
            restore(known)
        }
    }

    /** The weights that answer now, to run and to know their version by; 0 is the default pack. */
    val live: Snapshot get() = controller.live

    /** Whether a server knows this phone with the bundle that it runs. */
    val enrolled: Boolean get() = identity?.bundle == bundle.id

    /**
     * Only versions above this one are taken: the running one, or just below a newer one that was kept but is damaged.
     * That one may come again, an older one may not. Nor may one that the user left by [reset].
     */
    private val newerThan: Long get() = maxOf(live.version, newestSeen - 1, store.resetVersion)

    /**
     * Become known to the server, and pin its keys; or, after an update of the app, known with the new bundle.
     *
     * Throws [Offline], [Denied] or [IOException].
     */
    @Synchronized
    fun enrol(client: CloudClient, enrolmentKey: String) {
        val known = identity
        if (known != null) client.install(known, bundle.id)
        val new = known?.with(bundle.id) ?: client.enrol(enrolmentKey, bundle.id)
        keepIdentity(new)
        report(PhoneEvent.Enrolled(new.device))
    }

    /**
     * Upload a context; returns the version that will stem from it. Throws [Offline] or [Denied].
     *
     * A server that answers [Busy] is not asked again before its time: until then this throws [Busy] at once.
     */
    fun upload(client: CloudClient, samples: Samples): Long {
        val waitMillis = (uploadsFrom - System.nanoTime()) / 1_000_000
        if (waitMillis > 0) throw Busy(waitMillis)
        val version = try {
            client.upload(known(), samples)
        } catch (busy: Busy) {
            uploadsFrom = System.nanoTime() + busy.retryAfterMillis * 1_000_000
            throw busy
        }
        report(PhoneEvent.Uploaded(samples.size, version))
        return version
    }

    /**
     * Wait for a newer release and take it; returns whether one came.
     *
     * Throws [Offline] or [Denied], and [Refused] where the new weights fail a check: the running ones stay.
     */
    fun poll(client: CloudClient, waitSeconds: Int): Boolean {
        val jws = client.newestRelease(known(), newerThan, waitSeconds) ?: return false
        val phone = learnKeys(client, known(), jws)
        val release = verify(phone, jws, newerThan, System.currentTimeMillis() / 1000)
        try {
            take(client, phone, Kept(jws, release))
        } catch (refusal: Refused) {
            tell(client, phone, release, refusal.reason.toString())
            throw refusal
        }
        tell(client, phone, release, CloudClient.TAKEN)
        return true
    }

    /** Run the default weights, over a restart too, until a newer version comes. Throws [IOException]. */
    @Synchronized
    fun reset() {
        store.resetVersion = maxOf(live.version, newestSeen)
        controller.reset()
        running = null
    }

    /** Run a pack that nobody signed until the next start, if it passes every other check; null, or why it does not. */
    fun tryPack(pack: ByteArray): String? = try {
        controller.swap(pack)
        null
    } catch (refusal: Refused) {
        refusal.message
    } catch (error: IOException) {
        "the disk: ${error.message}"
    }

    override fun close() = controller.close()

    private fun known(): Identity = checkNotNull(identity?.takeIf { enrolled }) { "enrol first" }

    @Synchronized
    private fun keepIdentity(new: Identity) {
        store.saveIdentity(new)
        identity = new
    }

    /**
     * The server's keys, if a known one vouches for them: where a key signed that this phone has not heard of, and once a
     * day, so that a key that the server has retired is not believed for ever.
     */
    private fun learnKeys(client: CloudClient, phone: Identity, jws: String): Identity {
        if (signer(jws) !in phone.keys) return askForKeys(client, phone)
        if (System.currentTimeMillis() / 1000 - phone.keysAt < KEYS_LAST_SECONDS) return phone
        return try {
            askForKeys(client, phone)
        } catch (error: Offline) {
            phone // who keeps the statement from a phone can keep the release from it too
        } catch (denial: Denied) {
            phone
        } catch (error: IOException) {
            phone
        }
    }

    private fun askForKeys(client: CloudClient, phone: Identity): Identity {
        for (statement in client.keyStatements(phone)) {
            val stated = try {
                KeyStatement.verify(statement, phone.keys)
            } catch (refusal: Refused) {
                continue // by another key than the known ones
            }
            if (stated.at > phone.keysAt) return phone.with(stated).also(::keepIdentity)
        }
        return phone
    }

    private fun verify(phone: Identity, jws: String, newerThan: Long, now: Long?): Release {
        // Who accepted a release while its key was good may run it now.
        val keys = if (now == null) phone.keys + phone.retired else phone.keys
        return verifyRelease(jws, keys, phone.device, bundle.id, newerThan, now)
    }

    /** Tell the server what became of a release; the phone does not depend on being heard. */
    private fun tell(client: CloudClient, phone: Identity, release: Release, outcome: String) {
        try {
            client.report(phone, release.version, outcome)
        } catch (error: Offline) {
            return
        } catch (error: Denied) {
            return
        }
    }

    /** Fetch the pack of a verified release, swap it in and keep it. */
    private fun take(client: CloudClient, phone: Identity, new: Kept) {
        val release = new.release
        if (release.size > bundle.manifest.generatedBytes + PACK_HEADER_BYTES) {
            throw Refused(Reason.WRONG_SIZE, "a pack of ${release.size} bytes is too large for this bundle")
        }
        val started = System.nanoTime()
        val pack = client.fetchPack(phone, release.sha256, release.size)
        take(new, pack, System.nanoTime() - started)
    }

    @Synchronized
    private fun take(new: Kept, pack: ByteArray, fetchNanos: Long) {
        if (new.release.version <= newerThan) {
            throw Refused(Reason.STALE_VERSION, "version ${new.release.version} was left by a reset meanwhile")
        }
        val started = System.nanoTime()
        swap(new.release, pack)
        val swapNanos = System.nanoTime() - started
        report(PhoneEvent.Swapped(new.release.version, pack.size, fetchNanos, swapNanos, persist(new, pack)))
    }

    private fun swap(release: Release, pack: ByteArray) {
        checkBytes(pack, release)
        val version = readPack(pack, bundle.manifest).version
        if (version != release.version) {
            throw Refused(Reason.MALFORMED, "release ${release.version} names a pack of version $version")
        }
        controller.swap(pack)
    }

    /** Keep the version that now runs; a full disk costs it at the next start, not now. */
    private fun persist(new: Kept, pack: ByteArray): Boolean = try {
        store.save(new, pack, running)
        true
    } catch (error: IOException) {
        false
    } finally {
        running = new
    }

    /** Swap in the newest kept version that passes every check again; without one, the default stays. */
    private fun restore(phone: Identity) {
        val left = store.resetVersion
        for (jws in store.releases()) {
            try {
                val release = verify(phone, jws, newerThan = 0, now = null)
                newestSeen = maxOf(newestSeen, release.version)
                if (release.version <= left) continue
                swap(release, store.pack(release))
                running = Kept(jws, release)
                return
            } catch (refusal: Refused) {
                report(PhoneEvent.RefusedWeights(refusal.reason, refusal.detail))
            }
        }
    }

    private companion object {
        /** Room for the header of a pack beside its tensors. */
        const val PACK_HEADER_BYTES = 64 * 1024
        const val KEYS_LAST_SECONDS = 24 * 60 * 60L
    }
}
