package mnet.core

import java.io.IOException

/**
 * What a phone took from its server: the release that runs, what of it outlives a restart, and which may come next. From any
 * thread; whatever changes the weights holds a lock, and never over the network.
 */
internal class Releases(
    private val bundle: Bundle,
    private val controller: SwapController,
    private val store: WeightStore,
    private val report: (PhoneEvent) -> Unit,
) {
    @Volatile
    private var newestSeen = 0L

    @Volatile
    private var resetVersion = store.resetVersion

    /** The release that was last taken; null on the default weights. */
    @Volatile
    var running: Kept? = null
        private set

    /**
     * Only versions above this one are taken: the running one, or just below a newer one that was kept but is damaged.
     * That one may come again, an older one may not. Nor may one that the user left by [reset].
     */
    val newerThan: Long get() = maxOf(controller.swapped.version, newestSeen - 1, resetVersion)

    /** The version of the release that was last taken; 0 on the default weights. */
    val version: Long get() = running?.release?.version ?: 0

    /** The version of the release whose weights answer now; 0 where the default ones do, or the app's own. */
    val answering: Long get() {
        val (live, version) = controller.live to version
        return if (live.name == null && live.version == version) version else 0
    }

    /** False where another poll took it meanwhile, or the user left it by [reset]. */
    @Synchronized
    fun take(new: Kept, pack: ByteArray, fetchNanos: Long): Boolean {
        if (new.release.version <= newerThan) return false
        val started = System.nanoTime()
        swap(new.release, pack)
        val swapNanos = System.nanoTime() - started
        report(PhoneEvent.Swapped(new.release.version, pack.size, fetchNanos, swapNanos, persist(new, pack)))
        return true
    }

    /** Run the default weights, over a restart too, until a newer version comes. Throws [IOException]. */
    @Synchronized
    fun reset() {
        resetVersion = maxOf(version, newestSeen)
        store.resetVersion = resetVersion
        controller.reset()
        running = null
    }

    /** Run nothing that a stolen key may have signed, and count versions from the start. Throws [IOException]. */
    @Synchronized
    fun startOver() {
        controller.reset()
        running = null
        newestSeen = 0
        resetVersion = 0
        store.resetVersion = 0
        store.clearVersions()
    }

    /** Swap in the newest kept version that passes every check again; without one, the default stays. */
    fun restore(phone: Identity) {
        val left = store.resetVersion
        for (jws in store.releases()) {
            try {
                // Who accepted a release while its key was good may run it now, whenever that is.
                val release = verifyRelease(jws, phone.keys + phone.retired, phone.device, bundle.id, newerThan = 0, now = null)
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

    private fun swap(release: Release, pack: ByteArray) {
        checkBytes(pack, release)
        val version = readPack(pack, bundle.manifest).version
        if (version != release.version) {
            throw Refused(Reason.MALFORMED, "release ${release.version} names a pack of version $version")
        }
        controller.swap(pack)
    }

    /** Keep the version that now runs; a full disk costs it at the next start, not now. */
    private fun persist(new: Kept, pack: ByteArray): Boolean {
        val before = running
        running = new
        return try {
            store.save(new, pack, before)
            true
        } catch (error: IOException) {
            false
        }
    }
}
