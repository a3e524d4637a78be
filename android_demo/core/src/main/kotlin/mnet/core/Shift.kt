package mnet.core

import kotlin.math.max
import kotlin.math.pow

/**
 * The request policy `shift` of a bundle, as `export/format/shift.py` describes it: how far a moving average of what the samples
 * project to is from where it was when the weights were made. Computed in fp64 from fp32, as everywhere.
 *
 * [projection] has a row for each id, row 0 zero, or for each number of a vector; [width] columns. [halfLife] is in samples,
 * [threshold] is of the squared distance.
 */
public class Shift private constructor(
    private val ofIds: Boolean, private val projection: FloatArray, public val width: Int, private val halfLife: Double,
    private val threshold: Double,
) {
    private val rows = if (width == 0) 0 else projection.size / width

    /** Where a user with these samples is; IllegalArgumentException where the projection has no row for one. */
    public fun statistic(samples: Samples): DoubleArray = when (samples) {
        is Samples.Ids -> {
            require(ofIds && samples.ids.all { it in 0 until rows }) { wanted() }
            movingAverage(samples.ids.map { row(it.toInt()) }, width)
        }
        is Samples.Vectors -> {
            require(!ofIds && samples.rows.all { it.size == rows }) { wanted() }
            val average = movingAverage(samples.rows.map { row -> DoubleArray(rows) { row[it].toDouble() } }, rows)
            DoubleArray(width) { column -> average.indices.sumOf { average[it] * projection[it * width + column] } }
        }
        is Samples.Texts, is Samples.Objects -> throw IllegalArgumentException(wanted())
    }

    /** Whether a user whose statistic was [then] when the weights were made, and is [now], has shifted. */
    public fun asks(then: DoubleArray, now: DoubleArray): Boolean =
        now.indices.sumOf { (now[it] - then[it]) * (now[it] - then[it]) } > threshold

    private fun row(id: Int) = DoubleArray(width) { projection[id * width + it].toDouble() }

    private fun wanted() =
        if (ofIds) "a sample is an id from 1 to ${rows - 1}" else "a sample is a vector of $rows numbers"

    /** Of [samples], newest last; a zero vector stands for none. */
    private fun movingAverage(samples: List<DoubleArray>, length: Int): DoubleArray {
        val sum = DoubleArray(length)
        var total = 0.0
        for ((index, sample) in samples.withIndex()) {
            if (sample.all { it == 0.0 }) continue
            val weight = 2.0.pow(-(samples.size - 1 - index) / halfLife)
            total += weight
            for (k in sum.indices) sum[k] += weight * sample[k]
        }
        return DoubleArray(length) { sum[it] / max(total, LEAST_WEIGHT) }
    }

    public companion object {
        private const val SCHEMA = "mnet.policy/1"
        private const val LEAST_WEIGHT = 1e-9
        private val FIELDS = setOf("schema", "samples", "half_life", "threshold")

        /** Read the bytes of `policy.safetensors`. Throws [BundleException] for anything else. */
        public fun read(data: ByteArray): Shift = try {
            val file = Safetensors(data)
            val facts = asObject(parseJson(file.metadata.string("mnet")), "mnet").also(::check)
            val tensor = file.tensors()["projection"] ?: throw JsonException("no projection")
            if (tensor.dtype != Tensor.FLOAT32 || tensor.shape.size != 2 || !tensor.floats().all { it.isFinite() }) {
                throw JsonException("the projection is no matrix of finite fp32 numbers")
            }
            val width = tensor.shape[1].toInt()
            Shift(facts["samples"] == "ids", tensor.floats(), width, facts.double("half_life"), facts.double("threshold"))
        } catch (error: JsonException) {
            throw BundleException("the request policy is damaged: ${error.message}")
        } catch (refusal: Refused) {
            throw BundleException("the request policy is damaged: ${refusal.detail}")
        }

        private fun check(facts: JsonObject) {
            if (facts.keys != FIELDS) throw JsonException("its entries are ${facts.keys}, not $FIELDS")
            if (facts.string("schema") != SCHEMA) throw JsonException("unknown schema ${facts["schema"]}")
            if (facts.string("samples") !in setOf("ids", "vectors")) throw JsonException("samples ${facts["samples"]}")
            val (halfLife, threshold) = listOf("half_life", "threshold").map(facts::double)
            if (!halfLife.isFinite() || halfLife <= 0 || !threshold.isFinite() || threshold < 0) {
                throw JsonException("half_life $halfLife, threshold $threshold")
            }
        }
    }
}
