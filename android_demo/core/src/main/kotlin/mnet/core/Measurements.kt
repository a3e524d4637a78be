package mnet.core

import java.io.File
import java.io.IOException
import java.util.TreeMap

/** All values of a metric under one release so far: how many, their [sum], and the sum of their [squares]. */
internal class Totals(val count: Long, val sum: Double, val squares: Double) {
    internal fun with(value: Double) = Totals(count + 1, sum + value, squares + value * value)

    /** Whether there are [count] values, none beyond [Measurements.LARGEST], that have these totals. */
    internal val possible: Boolean
        get() {
            if (count !in 1..Measurements.MOST || !sum.isFinite() || !squares.isFinite()) return false
            val room = 1 + ROUNDING * count
            val within = Math.abs(sum) <= count * Measurements.LARGEST * room &&
                squares <= count * Measurements.LARGEST * Measurements.LARGEST * room
            return within && sum * sum <= count * squares * room
        }

    private companion object {
        const val ROUNDING = 1e-9
    }
}

/** What is measured: a [metric] under a [version]. */
internal data class Measured(val version: Long, val metric: String) : Comparable<Measured> {
    override fun compareTo(other: Measured) = compareValuesBy(this, other, { it.version }, { it.metric })
}

/**
 * What an app measured of the weights that it runs, kept in [file] until the server has it, and as totals so that it stays
 * small. The server is sent totals, never single values: it keeps the largest count, so that a repeated call changes nothing.
 *
 * The file is replaced at each value, and not synced: a killed app loses nothing, a power loss the last seconds. A damaged one
 * is as good as none. The same rules as `toolchain/phone/measurements.py`.
 */
internal class Measurements(private val file: File) {
    private val totals: TreeMap<Measured, Totals> = read()
    private val sent = HashMap<Measured, Totals>()

    /**
     * Count a value; one of the default weights, version 0, is of no release and not kept.
     *
     * Throws [IllegalArgumentException] for what no server would take, and for one metric more than [METRICS] a release;
     * [IOException] where the file cannot be written.
     */
    @Synchronized
    fun add(version: Long, metric: String, value: Double) {
        require(METRIC.matches(metric)) { "a metric is named by ${METRIC.pattern}, not $metric" }
        require(Math.abs(value) <= LARGEST) { "a value is finite and within $LARGEST of zero, not $value" }
        if (version == 0L) return
        val key = Measured(version, metric)
        require(key in totals || totals.keys.count { it.version == version } < METRICS) {
            "$metric is one metric too many: a release has at most $METRICS"
        }
        totals[key] = totals[key]?.with(value) ?: Totals(0, 0.0, 0.0).with(value)
        val newest = totals.keys.map { it.version }.distinct().takeLast(RELEASES)
        totals.keys.retainAll { it.version in newest }
        write()
    }

    /** Send what has changed since it was last sent; without a network it stays for the next time. Throws nothing. */
    fun send(client: CloudClient, phone: Identity) {
        val unsent = synchronized(this) { totals.filter { (key, each) -> sent[key] !== each } }
        if (unsent.isEmpty()) return
        try {
            client.sendTotals(phone, unsent)
        } catch (error: Offline) {
            return
        } catch (error: Denied) {
            // What the server will not have is not sent again until it has changed.
        }
        synchronized(this) { sent += unsent }
    }

    /** Forget all, where versions count from the start. */
    @Synchronized
    fun clear() {
        totals.clear()
        sent.clear()
        file.delete()
    }

    private fun write() {
        val rows = totals.map { (key, each) -> listOf(key.version, key.metric, each.count, each.sum, each.squares) }
        val part = File(file.parentFile, ".${file.name}.tmp")
        part.writeText(writeJson(rows))
        if (!part.renameTo(file)) throw IOException("cannot rename $part to $file")
    }

    private fun read(): TreeMap<Measured, Totals> = try {
        (parseJson(file.readBytes()) as? List<*>).orEmpty().associateTo(TreeMap()) { row(it) }
    } catch (error: IOException) {
        TreeMap()
    } catch (error: JsonException) {
        TreeMap()
    }

    private fun row(row: Any?): Pair<Measured, Totals> {
        val cells = row as? List<*>
        val version = cells?.getOrNull(0) as? Long
        val metric = (cells?.getOrNull(1) as? String)?.takeIf(METRIC::matches)
        val count = cells?.getOrNull(2) as? Long
        val sum = (cells?.getOrNull(3) as? Number)?.toDouble()
        val squares = (cells?.getOrNull(4) as? Number)?.toDouble()
        if (version == null || metric == null || count == null || sum == null || squares == null || cells.size != 5) {
            throw JsonException("not a row of totals")
        }
        val totals = Totals(count, sum, squares)
        if (!totals.possible) throw JsonException("no values have these totals")
        return Measured(version, metric) to totals
    }

    companion object {
        val METRIC = Regex("[a-z][a-z0-9_.-]{0,63}")

        /** Magnitude of one value. */
        const val LARGEST = 1e6

        /** Values of a metric under one release. */
        const val MOST = 1_000_000_000L

        /** Names of metrics under one release. */
        const val METRICS = 16

        /** The newest of which totals are kept. */
        const val RELEASES = 4
    }
}
