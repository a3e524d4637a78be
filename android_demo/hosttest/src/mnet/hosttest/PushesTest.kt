package mnet.hosttest

import com.facebook.jni.HybridData
import java.io.File
import java.lang.management.BufferPoolMXBean
import java.lang.management.ManagementFactory
import java.util.concurrent.atomic.AtomicBoolean
import kotlin.concurrent.thread
import kotlin.math.abs
import mnet.core.Bundle
import mnet.core.Manifest
import mnet.core.Snapshot
import mnet.core.SwapController
import mnet.core.distance
import mnet.core.parseJson
import mnet.core.probe
import mnet.core.writeJson
import mnet.engine.ExecuTorchProgram
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test

/** Many pushes while another thread infers without a pause; how many, the property `mnet.pushes` says. */
class PushesTest {
    private val bundle = Bundle.open(Machine.bundle)
    private val inputs = bundle.golden.first().inputs
    private val folder = Machine.folder("packs")

    /** Row 0: eager PyTorch's probe under the default weights; then of pack after pack, until they come round again. */
    private val expected = (parseJson(File(folder, "expected.json").readBytes()) as List<*>).map { row ->
        (row as List<*>).map { (it as Number).toDouble() }.toDoubleArray()
    }
    private val scales = bundle.manifest.outputs.map { it.scale }

    @Test
    fun `every output belongs to the version that it is said to belong to`() {
        val pushes = Machine.number("pushes")
        val swapNanos = ArrayList<Long>()
        val memory = ArrayList<Long>()
        SwapController(bundle, Machine.program(bundle)).use { controller ->
            val reader = Reader(controller)
            for (version in 1..pushes) {
                val pack = File(folder, "$version.safetensors").readBytes()
                val seen = reader.count
                val started = System.nanoTime()
                controller.swap(pack)
                swapNanos.add(System.nanoTime() - started)
                while (reader.count == seen) check(reader.runs) { "the reader failed" }
                if (version % maxOf(1, pushes / 4) == 0) memory.add(directBytes())
            }
            reader.stop()
            assertEquals(0, reader.mixed, "outputs of no version")
            assertEquals(0, reader.stale, "outputs of another version than said")
            assertTrue(reader.count >= pushes)
            report(pushes, reader, swapNanos, memory)
        }
        // What a version's weights took is given back: memory does not grow with the number of pushes, nor do modules.
        assertTrue(HybridData.alive() <= 4, "${HybridData.alive()} modules are left")
        val versionBytes = bundle.manifest.generatedBytes + inputs.sumOf { it.bytes().remaining() }
        assertTrue(memory.last() <= memory.first() + 8 * versionBytes, "direct memory grew: $memory")
    }

    private fun report(pushes: Int, reader: Reader, swapNanos: List<Long>, memory: List<Long>) {
        val (baked, swappable) = medianNanos()
        val sorted = swapNanos.sorted()
        val figures = mapOf(
            "pushes" to pushes, "inferences" to reader.count, "mixed" to reader.mixed, "stale" to reader.stale,
            "swap_p50_us" to sorted[sorted.size / 2] / 1000, "swap_p99_us" to sorted[sorted.size * 99 / 100] / 1000,
            "direct_bytes" to memory, "baked_p50_ns" to baked, "swappable_p50_ns" to swappable,
        )
        File(Machine.text("report")).writeText(writeJson(figures))
    }

    /** Of one inference with constant weights and with swappable ones, called in turns. */
    private fun medianNanos(): Pair<Long, Long> {
        val manifest = bundle.manifest
        val constant = with(manifest) {
            Manifest(id, target, program, files, inputs, outputs, emptyList(), defaultWeights, golden, policy)
        }
        ExecuTorchProgram.load(bundle.file("bench/baked.pte"), constant).use { baked ->
            Machine.program(bundle).use { swappable ->
                val runs = listOf(baked.bind(emptyMap()), swappable.bind(bundle.defaultWeights))
                val outputs = runs.map { it(inputs).first().floats() }
                assertTrue(outputs[0].indices.all { abs(outputs[0][it] - outputs[1][it]) <= 1e-4f }, "the models differ")
                val nanos = runs.map { LongArray(TIMED) }
                for (call in 0 until TIMED) {
                    for ((run, times) in runs.zip(nanos)) {
                        val started = System.nanoTime()
                        run(inputs)
                        times[call] = System.nanoTime() - started
                    }
                }
                val (first, second) = nanos.map { it.drop(TIMED / 5).sorted()[TIMED * 2 / 5] }
                return first to second
            }
        }
    }

    /** Bytes of direct memory in use once what is unreachable was given back. */
    private fun directBytes(): Long {
        val pool = ManagementFactory.getPlatformMXBeans(BufferPoolMXBean::class.java).single { it.name == "direct" }
        var least = Long.MAX_VALUE
        repeat(20) {
            System.gc()
            Thread.sleep(10) // the cleaner is a thread of its own
            if (pool.memoryUsed >= least) return least
            least = pool.memoryUsed
        }
        return least
    }

    private companion object {
        const val TIMED = 5_000
    }

    private inner class Reader(private val controller: SwapController) {
        private val stopped = AtomicBoolean()

        @Volatile
        var count = 0L
            private set
        var mixed = 0
            private set
        var stale = 0
            private set

        private val thread = thread { while (!stopped.get()) infer(controller.live) }

        val runs get() = thread.isAlive

        fun stop() {
            stopped.set(true)
            thread.join()
        }

        private fun infer(live: Snapshot) {
            val output = probe(live.run(inputs), scales)
            if (!matches(output, live.version)) {
                if (expected.indices.any { matches(output, it.toLong()) }) stale++ else mixed++
            }
            count++
        }

        private fun matches(output: DoubleArray, version: Long): Boolean =
            distance(output, expected[if (version == 0L) 0 else 1 + (version.toInt() - 1) % (expected.size - 1)]) <= 1e-4
    }
}
