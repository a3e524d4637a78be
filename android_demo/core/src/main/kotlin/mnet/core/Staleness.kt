package mnet.core

import java.io.IOException
import kotlin.math.abs

/**
 * Whether the weights that a phone runs are known to be the newest; stale: for a day nobody vouched for it.
 *
 * [report] hears when that changes; [now] gives Unix seconds.
 */
internal class Staleness(
    private val store: WeightStore,
    private val report: (PhoneEvent) -> Unit,
    private val now: () -> Long,
) {
    @Volatile
    var stale = false
        private set
    private var counted = false
    private var until: Long
    private var savedUntil: Long

    init {
        val (kept, latest) = store.freshUntil to now() + DAY_SECONDS
        // Where nothing is known, or a clock went back: a day.
        until = minOf(kept ?: latest, latest)
        savedUntil = kept ?: 0
    }

    /** Note that there is nothing newer than [asked], if a known key says so. */
    fun hear(phone: Identity, asked: Long, statement: String) {
        val until = try {
            freshUntil(statement, phone.keys, phone.device, phone.bundle, asked, now())
        } catch (refusal: Refused) {
            return // as good as none
        }
        fresh(until)
    }

    /** A phone that was just enrolled is fresh for a day. */
    fun startADay() = fresh(now() + DAY_SECONDS)

    @Synchronized
    private fun fresh(until: Long) {
        this.until = until
        if (abs(until - savedUntil) < SAVED_EVERY_SECONDS) return
        try {
            store.freshUntil = until
            savedUntil = until
        } catch (error: IOException) {
            return // a full disk: after a restart it is asked for again
        }
    }

    /** Notice that [version] became stale, or fresh again, and have the server count it once, by [tell]. */
    fun look(version: Long, tell: () -> Boolean) {
        val tells = synchronized(this) {
            val was = stale
            stale = now() >= until
            if (stale && !was) report(PhoneEvent.WentStale(version))
            if (was && !stale) report(PhoneEvent.BecameFresh(version))
            (stale || was) && !counted
        }
        val heard = tells && tell()
        synchronized(this) { counted = stale && (counted || heard) }
    }

    private companion object {
        /** How far what is kept may lag behind. */
        const val SAVED_EVERY_SECONDS = 3600L
    }
}
