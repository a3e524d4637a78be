package mnet.core

/** The latest [capacity] latencies, in nanoseconds; safe to use from several threads. */
public class LatencyStats(private val capacity: Int = 256) {
    private val ring = LongArray(capacity)
    private var total = 0L

    @Synchronized
    public fun add(nanos: Long) {
        ring[(total++ % capacity).toInt()] = nanos
    }

    /** Oldest first. */
    @Synchronized
    public fun latest(): LongArray {
        if (total <= capacity) return ring.copyOf(total.toInt())
        val oldest = (total % capacity).toInt()
        return LongArray(capacity) { ring[(oldest + it) % capacity] }
    }

    /** The [share] quantile by nearest rank, as 0.9; null without a latency. */
    public fun quantile(share: Double): Long? {
        val sorted = latest().apply { sort() }
        return sorted.getOrNull((Math.ceil(share * sorted.size).toInt() - 1).coerceAtLeast(0))
    }
}
