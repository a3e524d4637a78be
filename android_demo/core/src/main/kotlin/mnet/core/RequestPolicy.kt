package mnet.core

/**
 * When a phone asks the cloud for new weights on its own: after enough new samples, and not too often.
 *
 * Each request costs the user a few hundred bytes up and a pack down, and the cloud a forward pass.
 */
class RequestPolicy(private val newSamples: Int = 3, private val leastMillis: Long = 10_000) {
    /** [unsent]: samples since the last upload; [sinceLastMillis]: time since then, null where there was none. */
    fun asks(unsent: Int, sinceLastMillis: Long?): Boolean =
        unsent >= newSamples && (sinceLastMillis == null || sinceLastMillis >= leastMillis)
}
