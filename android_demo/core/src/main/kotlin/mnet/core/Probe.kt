package mnet.core

import kotlin.math.abs
import kotlin.math.sqrt

/** How many numbers a probe has. */
internal const val PROBE_SUMS = 16

/**
 * Seeded, signed sums over all outputs of one inference, each in units of its scale: small enough to travel in a pack, and
 * moved by every weight that moves an output. As `export/format/probe.py`.
 */
internal fun probe(outputs: List<Tensor>, scales: List<Double>): DoubleArray {
    val sums = DoubleArray(PROBE_SUMS)
    var count = 0
    for ((output, scale) in outputs.zip(scales)) {
        for (number in output.numbers()) {
            val value = number / scale
            val bits = signs(count++)
            for (k in sums.indices) sums[k] += if (bits ushr k and 1 == 1) value else -value
        }
    }
    for (k in sums.indices) sums[k] /= sqrt(count.toDouble())
    return sums
}

/** The bits that say which sums take value number [index] with which sign: murmur3's finalizer of a Weyl sequence. */
private fun signs(index: Int): Int {
    var hash = (index + 1) * 0x9E3779B1.toInt()
    hash = (hash xor (hash ushr 16)) * 0x85EBCA6B.toInt()
    hash = (hash xor (hash ushr 13)) * 0xC2B2AE35.toInt()
    return hash xor (hash ushr 16)
}

/** The largest difference, relative to the largest magnitude of [expected] where that is over 1; NaN where there is one. */
internal fun distance(actual: DoubleArray, expected: DoubleArray): Double =
    actual.indices.maxOf { abs(actual[it] - expected[it]) } / maxOf(1.0, expected.maxOf { abs(it) })
