package mnet.litert

import java.io.File
import java.util.concurrent.atomic.AtomicBoolean
import kotlin.concurrent.thread
import kotlin.math.abs
import mnet.core.Bundle
import mnet.core.BundleException
import mnet.core.Reason
import mnet.core.Refused
import mnet.core.Safetensors
import mnet.core.SwapController
import mnet.core.Tensor
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test

/** On the runtime of the Python wheel, behind LiteRT's Java API. */
class LiteRtProgramTest {
    private val bundle = Bundle.open(File(System.getProperty("mnet.bundle")))
    private val pack = File(System.getProperty("mnet.pack")).readBytes()

    @Test
    fun `outputs are those of eager PyTorch, before and after a push, and what is bound keeps its weights`() =
        SwapController(bundle, LiteRtProgram.load(bundle)).use { controller ->
            val inputs = bundle.golden.first().inputs
            val old = controller.live
            val before = old.run(inputs).first().floats()
            controller.swap(pack)
            val after = controller.live.run(inputs).first().floats()
            val swapped = Safetensors(bundle.file(bundle.manifest.golden.samples).readBytes()).tensors()
                .getValue("swapped.0.${bundle.manifest.outputs.first().name}").floats()
            val scale = maxOf(bundle.manifest.outputs.first().scale.toFloat(), swapped.maxOf { abs(it) })
            val allowed = bundle.manifest.golden.tolerance * scale
            assertTrue(after.indices.all { abs(after[it] - swapped[it]) <= allowed })
            assertFalse(before.indices.all { abs(after[it] - before[it]) <= allowed })
            assertTrue(before.contentEquals(old.run(inputs).first().floats()))
            controller.reset()
            assertTrue(before.contentEquals(controller.live.run(inputs).first().floats()))
        }

    @Test
    fun `a thread that reads while weights change sees one version or the other`() =
        SwapController(bundle, LiteRtProgram.load(bundle)).use { controller ->
            val inputs = bundle.golden.first().inputs
            val before = controller.live.run(inputs).first().floats()
            controller.swap(pack)
            val after = controller.live.run(inputs).first().floats()
            controller.reset()
            val (stop, mixed) = AtomicBoolean() to AtomicBoolean()
            val reader = thread {
                while (!stop.get()) {
                    val live = controller.live
                    val expected = if (live.version == 0L) before else after
                    if (!live.run(inputs).first().floats().contentEquals(expected)) mixed.set(true)
                }
            }
            repeat(PUSHES) {
                controller.swap(pack)
                controller.reset()
            }
            stop.set(true)
            reader.join()
            assertFalse(mixed.get())
        }

    @Test
    fun `what does not fit is refused`() {
        LiteRtProgram.load(bundle).use { program ->
            val run = program.bind(bundle.defaultWeights)
            assertThrows(IllegalArgumentException::class.java) { run(emptyList()) }
            val wrong = bundle.golden.first().inputs.map { Tensor(it.dtype, it.shape + 1L, it.bytes()) }
            assertThrows(IllegalArgumentException::class.java) { run(wrong) }
        }
        val refusal = assertThrows(Refused::class.java) {
            SwapController(bundle, LiteRtProgram.load(bundle)).use { it.swap(pack.copyOf(pack.size - 1)) }
        }
        assertEquals(Reason.MALFORMED, refusal.reason)
        val other = Bundle.open(File(System.getProperty("mnet.other")))
        assertThrows(BundleException::class.java) { LiteRtProgram.load(other) }
    }

    private companion object {
        const val PUSHES = 10
    }
}
