package mnet.app.recommender

import mnet.core.BundleException
import mnet.core.LatencyStats
import mnet.core.Manifest
import mnet.core.Run
import mnet.core.Tensor

/**
 * The device model as a recommender: recent items [1, L], left-padded with 0, and items to score [1, C] give a score
 * [1, C] each. Items are 1..[catalogue]; where the model scores fewer at a time, it is asked several times.
 */
class Ranking(manifest: Manifest, private val catalogue: Int) {
    init {
        val inputs = manifest.inputs.map { "${it.name} ${it.shape}" }
        if (manifest.inputs.map { it.name } != listOf("history", "candidates")) {
            throw BundleException("this app ranks items by history and candidates, the model takes $inputs")
        }
    }

    private val history = manifest.inputs[0].shape
    private val batch = manifest.inputs[1].shape
    private val width = batch[1].toInt()

    /** The score of item i at i - 1; [latency] hears how long each inference took. */
    fun scores(run: Run, recent: List<Int>, latency: LatencyStats? = null): FloatArray {
        val padded = LongArray(history[1].toInt())
        recent.takeLast(padded.size).let { last ->
            last.forEachIndexed { index, item -> padded[padded.size - last.size + index] = item.toLong() }
        }
        val past = Tensor.of(history, padded)
        val scores = FloatArray(catalogue)
        for (first in 0 until catalogue step width) {
            // The last batch is filled up with items from the start.
            val candidates = LongArray(width) { (first + it) % catalogue + 1L }
            val inputs = listOf(past, Tensor.of(batch, candidates))
            val started = System.nanoTime()
            val outputs = run(inputs)
            latency?.add(System.nanoTime() - started)
            outputs[0].floats().copyInto(scores, first, 0, minOf(width, catalogue - first))
        }
        return scores
    }
}

/** Items, best first, without those in [recent]. */
fun ranked(scores: FloatArray, recent: List<Int>): List<Int> {
    val seen = recent.toSet()
    return (1..scores.size).filter { it !in seen }.sortedByDescending { scores[it - 1] }
}
