package mnet.core

/** The pack that was refused last, for good, or for an hour where the network damaged it often enough. */
internal class RefusedPacks {
    private var last = Named(0, "")

    /** By [System.nanoTime]; null where [last] was refused for good. */
    private var since: Long? = null
    private val damaged = HashMap<Named, Int>()

    /** The version that need not be fetched now; 0 where there is none. */
    val version: Long
        @Synchronized get() {
            val from = since ?: return last.version
            return if (System.nanoTime() - from < HOUR_NANOS) last.version else 0
        }

    @Synchronized
    operator fun contains(release: Release): Boolean = version != 0L && Named(release) == last

    /** What was refused is not fetched again; what the network may have damaged, a few times an hour. */
    @Synchronized
    fun note(release: Release, reason: Reason) {
        val named = Named(release)
        if (reason in DAMAGE) {
            val times = (damaged[named] ?: 0) + 1
            damaged[named] = times
            if (times < DAMAGED_DOWNLOADS) return
            damaged.clear()
        }
        last = named
        since = if (reason in DAMAGE) System.nanoTime() else null
    }

    @Synchronized
    fun clear() {
        last = Named(0, "")
    }

    private data class Named(val version: Long, val sha256: String) {
        constructor(release: Release) : this(release.version, release.sha256)
    }

    private companion object {
        /** These may be the network's doing; any other refusal of a release would come again. */
        val DAMAGE = setOf(Reason.WRONG_SIZE, Reason.WRONG_HASH)

        /** So many downloads of what comes damaged an hour. */
        const val DAMAGED_DOWNLOADS = 5
        const val HOUR_NANOS = 3600 * 1_000_000_000L
    }
}
