package mnet.core

import java.io.File

/**
 * What `mnet bench --on app` measures, in the process of an app: the figures of `mnet-runner bench`, under their names.
 *
 * [folder] holds a bundle with its files for the bench. [load] loads its program, and [loadBaked] the same model with constant
 * weights: a program that takes the inputs of a manifest that has no slots.
 */
public class Benchmark(
    private val folder: File,
    private val load: (Bundle) -> Program,
    private val loadBaked: (File, Manifest) -> Program,
) {
    private val bundle = Bundle.open(folder)
    private val manifest = bundle.manifest
    private val constant = with(manifest) {
        Manifest(id, target, program, files, inputs, outputs, emptyList(), defaultWeights, golden, policy)
    }
    private val scales = manifest.outputs.map { it.scale }
    private val times = LinkedHashMap<String, ArrayList<Long>>()
    private var worst = 0.0
    private var leastChange = Double.POSITIVE_INFINITY

    /**
     * Time [swaps] swaps, inference before and after each, and loading. [packs] have the versions 1, 2, … and are swapped in one
     * after the other; then everything is loaded again, since where the allocator puts a model moves its time.
     */
    public fun run(packs: List<ByteArray>, swaps: Int): JsonObject {
        var left = swaps
        while (left > 0) {
            timeLoading()
            val count = minOf(left, packs.size)
            series(packs.take(count))
            left -= count
        }
        return report()
    }

    private fun series(packs: List<ByteArray>) {
        val inputs = bundle.golden.first().inputs
        SwapController(bundle, load(bundle)).use { controller ->
            withBaked { baked ->
                withBaked { control ->
                    val contenders = mapOf("baked" to baked, "control" to control, "swappable" to Run { controller.live.run(it) })
                    repeat(WARM_UP) { round -> infer(contenders, round, keep = false) }
                    var before = probe(controller.live.run(inputs), scales)
                    for (pack in packs) {
                        swap(controller, pack, inputs)
                        repeat(ROUNDS) { round -> infer(contenders, round, keep = true) }
                        val after = probe(controller.live.run(inputs), scales)
                        worst = maxOf(worst, distance(after, readPack(pack, manifest).probe))
                        leastChange = minOf(leastChange, distance(after, before))
                        before = after
                    }
                }
            }
            timeWholeModel(inputs)
        }
    }

    private fun withBaked(use: (Run) -> Unit) = loadBaked(bundle.file(BAKED), constant).use { use(it.bind(emptyMap())) }

    /** All on the same inputs, one after the other; who goes first, and finds a colder cache, goes round. */
    private fun infer(contenders: Map<String, Run>, round: Int, keep: Boolean) {
        val inputs = bundle.golden[round % bundle.golden.size].inputs
        val names = contenders.keys.toList()
        for (turn in names.indices) {
            val name = names[(round + turn) % names.size]
            val started = System.nanoTime()
            contenders.getValue(name)(inputs)
            if (keep) note(name, started)
        }
    }

    private fun swap(controller: SwapController, pack: ByteArray, inputs: List<Tensor>) {
        val swap = controller.swap(pack)
        val parts = mapOf("verify" to swap.verify, "write" to swap.write, "self_test" to swap.selfTest, "publish" to swap.publish)
        for ((name, nanos) in parts) add(name, nanos)
        add("swap", swap.total)
        val started = System.nanoTime()
        controller.live.run(inputs)
        add("swap effect", swap.total + System.nanoTime() - started)
    }

    /** As an app does at its start, and then one inference. */
    private fun timeLoading() {
        var started = System.nanoTime()
        val opened = Bundle.open(folder)
        started = note("check_files", started)
        SwapController(opened, load(opened)).use { controller ->
            started = note("load_and_self_test", started)
            controller.live.run(opened.golden.first().inputs)
            note("next_inference", started)
        }
    }

    /** What one would do instead of a swap: check the bytes of a whole model, load it, test it, and infer. */
    private fun timeWholeModel(inputs: List<Tensor>) {
        val started = System.nanoTime()
        sha256Hex(bundle.file(BAKED))
        withBaked { run -> repeat(2) { run(inputs) } }
        note("whole_model effect", started)
    }

    private fun note(name: String, started: Long): Long = System.nanoTime().also { add(name, it - started) }

    private fun add(name: String, nanos: Long) {
        times.getOrPut(name) { ArrayList() }.add(nanos)
    }

    private fun report(): JsonObject {
        val (baked, control, swappable) = listOf("baked", "control", "swappable").map { micros(it, 0.5) }
        return mapOf(
            "target" to manifest.target,
            "load" to medians("check_files", "load_and_self_test", "next_inference"),
            "inference" to mapOf(
                "baked_p50_us" to baked, "swappable_p50_us" to swappable,
                "ratio_p50" to swappable / baked, "control_ratio_p50" to control / baked,
                "baked" to percentiles("baked"), "swappable" to percentiles("swappable"),
            ),
            "swap" to percentiles("swap") + mapOf(
                "count" to times.getValue("swap").size, "parts" to medians("verify", "write", "self_test", "publish"),
            ),
            "time_to_effect" to mapOf(
                "swap_p50_us" to micros("swap effect", 0.5), "whole_model_p50_us" to micros("whole_model effect", 0.5),
            ),
            "max_error" to worst,
            "output_change" to leastChange,
        )
    }

    private fun medians(vararg names: String): JsonObject = names.associate { "${it}_p50_us" to micros(it, 0.5) }

    private fun percentiles(name: String): JsonObject =
        listOf(50, 90, 99).associate { "p${it}_us" to micros(name, it / 100.0) }

    /** The time below which this share of the calls stays. */
    private fun micros(name: String, share: Double): Double {
        val sorted = times.getValue(name).sorted()
        return sorted[(share * (sorted.size - 1) + 0.5).toInt()] / 1e3
    }

    private companion object {
        const val BAKED = "bench/baked.pte"
        const val WARM_UP = 200
        const val ROUNDS = 50
    }
}
