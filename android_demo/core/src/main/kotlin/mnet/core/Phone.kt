package mnet.core

import java.io.Closeable
import java.io.IOException

/**
 * One phone: a model that serves, what it keeps over a restart, and what it knows of its server.
 *
 * All may be called from any thread, and none of it waits for another's network but [enrol] for [enrol]: of several polls that
 * bring the same version, one takes it. The same rules in the same order as `toolchain/phone/phone.py`. [clock] gives
 * milliseconds since 1970. Where the app brings [roots], nothing is taken before they have vouched for the server's keys.
 */
public class Phone(
    private val bundle: Bundle,
    program: Program,
    private val store: WeightStore,
    private val report: (PhoneEvent) -> Unit,
    private val clock: () -> Long = System::currentTimeMillis,
    roots: Roots? = null,
) : Closeable {
    private val controller = SwapController(bundle, program)
    private val releases = Releases(bundle, controller, store, report)
    private val enrolling = Any()

    private val refused = RefusedPacks()
    private val staleness = Staleness(store, report, ::now)
    private val keyQuestions = KeyQuestions(roots, ::now)

    /** Whether for a day nobody vouched that the running version is the newest. */
    public val stale: Boolean get() = staleness.stale

    /** By [System.nanoTime]; before it, the server takes no upload. */
    @Volatile
    private var uploadsFrom = System.nanoTime()

    @Volatile
    private var identity: Identity? = keptIdentity()

    /** The release that was last taken, and answers unless [use] chose other weights; null on the default ones. */
    public val running: Kept? get() = releases.running

    init {
        val known = identity
        if (known != null && known.bundle != bundle.id) {
            // The app came with a new bundle: what the server sent for the old one fits no more.
            store.clearVersions()
        } else if (known != null) {
            releases.restore(known)
        }
    }

    /** The weights that answer now, to run and to know their version by; 0 is the default pack. [use] chooses others. */
    public val live: Snapshot get() = controller.live

    /** The weights that came with the app, to compare with. */
    public val default: Snapshot get() = controller.default

    /** Whether a server knows this phone with the bundle that it runs. */
    public val enrolled: Boolean get() = identity?.bundle == bundle.id

    /**
     * Become known to the server, and pin its keys; or, after an update of the app, known with the new bundle.
     *
     * Throws [Offline], [Denied] or [IOException].
     */
    public fun enrol(client: CloudClient, enrolmentKey: String): Unit = synchronized(enrolling) {
        if (enrolled) return@synchronized
        val known = identity
        if (known != null) client.install(known, bundle.id)
        val new = known?.with(bundle.id) ?: keyQuestions.enrolled(client.enrol(enrolmentKey, bundle.id))
        keepIdentity(new)
        staleness.startADay()
        report(PhoneEvent.Enrolled(new.device))
    }

    /**
     * Upload a context; returns the version that will stem from it. Throws [Offline] or [Denied].
     *
     * A server that answers [Busy] is not asked again before its time: until then this throws [Busy] at once.
     */
    public fun upload(client: CloudClient, samples: Samples): Long {
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
     * Keep a value of the app's own metric, such as a click or a rating, for the release that answers at this moment.
     *
     * The next [poll] sends it, as part of the totals of that release. The default weights are of no release, nor are those that the
     * app brought by [use] or [tryPack]: while these answer, nothing is kept.
     *
     * Throws [IllegalArgumentException] for what is no metric or value, [IOException] where it cannot be kept.
     */
    public fun report(metric: String, value: Double): Unit = store.measurements.add(releases.answering, metric, value)

    /**
     * Send what was measured, wait for a newer release and take it; returns whether one came.
     *
     * Throws [Offline] or [Denied], and [Refused] where the new weights fail a check: the running ones stay.
     */
    public fun poll(client: CloudClient, waitSeconds: Int): Boolean {
        var took = false
        store.measurements.send(client, known())
        try {
            took = look(client, known(), waitSeconds)
        } finally {
            val (phone, version) = identity to releases.version
            if (!took && phone != null) staleness.look(version) { tell(client, phone, version, CloudClient.STALE) }
        }
        return took
    }

    private fun look(client: CloudClient, known: Identity, waitSeconds: Int): Boolean {
        val above = releases.newerThan
        var asked = maxOf(above, refused.version)
        var newest = client.newestRelease(known, asked, waitSeconds)
        if (newest.release == null && asked > above) {
            // A roll-out that was stopped for its refusals gives way to the release before it.
            asked = above
            newest = client.newestRelease(known, asked, 0)
        }
        val phone = keyQuestions.learnt(client, known, newest.release)
        if (phone !== known) trust(phone)
        val jws = newest.release
        if (jws == null) {
            newest.nothingNewer?.let { staleness.hear(phone, asked, it) }
            return false
        }
        return consider(client, phone, jws, above)
    }

    /** Take a release above the version [above], unless it was refused before, or somebody else took it meanwhile. */
    private fun consider(client: CloudClient, phone: Identity, jws: String, above: Long): Boolean {
        val release = verifyRelease(jws, phone.keys, phone.device, bundle.id, above, now())
        if (release in refused || release.version <= releases.newerThan) return false
        val took = try {
            take(client, phone, Kept(jws, release))
        } catch (refusal: Refused) {
            refused.note(release, refusal.reason)
            tell(client, phone, release.version, refusal.reason.toString())
            throw refusal
        }
        if (took) tell(client, phone, release.version, CloudClient.TAKEN)
        return took
    }

    /** Run the default weights, over a restart too, until a newer version comes. Throws [IOException]. */
    public fun reset(): Unit = releases.reset()

    /**
     * Run a pack that nobody signed until the next start, if it passes every other check; null, or why it does not. Until then only
     * releases of a higher version are taken.
     */
    public fun tryPack(pack: ByteArray): String? = try {
        controller.swap(pack)
        null
    } catch (refusal: Refused) {
        refusal.message
    } catch (error: IOException) {
        "the disk: ${error.message}"
    }

    /**
     * Keep a pack that nobody signed, such as an adapter that came with the app, to be chosen by [use] until the next start. What
     * answers stays as it is. The pack must pass the checks of every pack, and be newer than the one of that [name].
     *
     * Throws [Refused] or [IOException]; then nothing changes.
     */
    public fun load(name: String, pack: ByteArray): Unit = controller.load(name, pack)

    /**
     * Let the weights that were loaded under a [name] answer, from the next inference on; null: those of the last release. It costs
     * one assignment. A release that is taken answers at once, whatever was chosen.
     *
     * Throws [NoSuchElementException] for a name that is not loaded.
     */
    public fun use(name: String?): Unit = controller.use(name)

    /** Forget the weights of a [name]; where they answer, they do so until the next [use] or the next release. */
    public fun unload(name: String): Unit = controller.unload(name)

    override fun close() {
        controller.close()
        store.close()
    }

    private fun now(): Long = clock() / 1000

    /** Who this phone is; a damaged file is reported, and the phone serves as one that is not enrolled. */
    private fun keptIdentity(): Identity? = try {
        store.identity()
    } catch (refusal: Refused) {
        report(PhoneEvent.RefusedWeights(refusal.reason, refusal.detail))
        null
    }

    private fun known(): Identity = checkNotNull(identity?.takeIf { enrolled }) { "enrol first" }

    @Synchronized
    private fun keepIdentity(new: Identity) {
        store.saveIdentity(new)
        identity = new
    }

    /** Believe these keys only, unless another poll learnt newer ones; a full disk costs them at the next start, not now. */
    @Synchronized
    private fun trust(learnt: Identity) {
        val known = keyQuestions.asking(identity ?: return)
        if (!learnt.isNewerThan(known)) return
        identity = learnt
        try {
            if (learnt.epoch > known.epoch) {
                refused.clear()
                releases.startOver()
            }
            store.saveIdentity(learnt)
        } catch (error: IOException) {
            report(PhoneEvent.Failed("the disk: ${error.message}"))
        }
    }

    /** Tell the server what became of a release; whether it heard, on which the phone does not depend. */
    private fun tell(client: CloudClient, phone: Identity, version: Long, outcome: String): Boolean = try {
        client.report(phone, version, outcome)
        true
    } catch (error: Offline) {
        false
    } catch (error: Denied) {
        false
    }

    /** Fetch the pack of a verified release, swap it in and keep it. */
    private fun take(client: CloudClient, phone: Identity, new: Kept): Boolean {
        val release = new.release
        if (release.size > bundle.manifest.generatedBytes + PACK_HEADER_BYTES) {
            throw Refused(Reason.WRONG_SIZE, "a pack of ${release.size} bytes is too large for this bundle")
        }
        val started = System.nanoTime()
        val pack = client.fetchPack(phone, release.sha256, release.size)
        return releases.take(new, pack, System.nanoTime() - started)
    }

    private companion object {
        /** Room for the header of a pack, in addition to its tensors. */
        const val PACK_HEADER_BYTES = 64 * 1024
    }
}
