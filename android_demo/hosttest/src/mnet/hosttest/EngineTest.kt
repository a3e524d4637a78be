package mnet.hosttest

import com.facebook.jni.HybridData
import java.io.File
import kotlin.math.abs
import mnet.core.Bundle
import mnet.core.Reason
import mnet.core.Refused
import mnet.core.Safetensors
import mnet.core.SwapController
import mnet.core.Tensor
import mnet.core.Vector
import mnet.engine.ExecuTorchProgram
import org.junit.jupiter.api.Assertions.assertArrayEquals
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.DynamicTest
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.TestFactory
import org.junit.jupiter.api.io.TempDir
import org.junit.jupiter.params.ParameterizedTest
import org.junit.jupiter.params.provider.ValueSource

class EngineTest {
    @TestFactory
    fun `the phone gives the verdict on its runtime`(): List<DynamicTest> =
        Vector.all().filter { it.kind == "swap" }.map { vector ->
            DynamicTest.dynamicTest(vector.name) {
                assertEquals(vector.verdict, vector.judge { Machine.program(it) })
            }
        }

    @ParameterizedTest
    @ValueSource(strings = ["inputs", "bytes"])
    fun `outputs are those of eager PyTorch, before and after a push`(kind: String) = controlling(kind) { bundle, controller ->
        val golden = Safetensors(bundle.file(bundle.manifest.golden.samples).readBytes()).tensors()
        assertTrue(worstError(bundle, controller, golden, "default") <= bundle.manifest.golden.tolerance)
        assertTrue(worstError(bundle, controller, golden, "swapped") > bundle.manifest.golden.tolerance)
        controller.swap(goldenPack(kind))
        assertTrue(worstError(bundle, controller, golden, "swapped") <= bundle.manifest.golden.tolerance)
    }

    @ParameterizedTest
    @ValueSource(strings = ["inputs", "bytes"])
    fun `what is bound keeps its own weights`(kind: String) = controlling(kind) { bundle, controller ->
        val inputs = bundle.golden.first().inputs
        val old = controller.live
        val before = old.run(inputs).first().floats()
        controller.swap(goldenPack(kind))
        assertFalse(before.contentEquals(controller.live.run(inputs).first().floats()))
        assertTrue(before.contentEquals(old.run(inputs).first().floats()))
        controller.reset()
        assertTrue(before.contentEquals(controller.live.run(inputs).first().floats()))
    }

    @Test
    fun `bytes under their old keys are answered from XNNPACK's cache, and the self-test refuses them`() =
        controlling("unkeyed") { bundle, controller ->
            val inputs = bundle.golden.first().inputs
            val before = controller.live.run(inputs).first().floats()
            val refusal = assertThrows(Refused::class.java) { controller.swap(goldenPack("unkeyed")) }
            assertEquals(Reason.SELF_TEST_FAILED, refusal.reason)
            assertTrue(before.contentEquals(controller.live.run(inputs).first().floats()))
        }

    @Test
    fun `copies of the program do not stay in the app's storage`(@TempDir scratch: File) {
        val bundle = Bundle.open(Machine.folder("bytes"))
        File(scratch, "0.version.pte").writeText("left by a phone that was killed")
        SwapController(bundle, ExecuTorchProgram.load(bundle, scratch)).use { controller ->
            controller.swap(goldenPack("bytes"))
            assertEquals(emptyList<String>(), scratch.list()!!.toList())
        }
    }

    @Test
    fun `two models share a process, and nobody resets the pool of the first`() = controlling("inputs") { bundle, first ->
        val before = first.live.run(bundle.golden.first().inputs).first().floats()
        controlling("bytes") { other, second ->
            repeat(20) { second.live.run(other.golden.first().inputs) }
            assertArrayEquals(before, first.live.run(bundle.golden.first().inputs).first().floats())
        }
        assertThrows(IllegalStateException::class.java) { ExecuTorchProgram.threads = 2 }
    }

    @Test
    fun `a version that was replaced is given back at once, and loaded again for who still runs it`() =
        controlling("bytes") { bundle, controller ->
            val inputs = bundle.golden.first().inputs
            val old = controller.live
            val before = old.run(inputs).first().floats()
            val loaded = HybridData.alive()
            controller.swap(goldenPack("bytes"))
            assertEquals(loaded, HybridData.alive())
            assertArrayEquals(before, old.run(inputs).first().floats())
            assertEquals(loaded + 1, HybridData.alive())
        }

    @Test
    fun `inputs that do not fit are named, and the model answers the next`() = controlling("inputs") { bundle, controller ->
        val inputs = bundle.golden.first().inputs
        val wrong = listOf(emptyList(), inputs.drop(1), inputs.map { Tensor.of(listOf(1), longArrayOf(0)) })
        for (given in wrong) {
            assertThrows(IllegalArgumentException::class.java) { controller.live.run(given) }
        }
        controller.live.run(inputs)
        val refusal = assertThrows(Refused::class.java) { controller.swap(ByteArray(100)) }
        assertEquals(Reason.MALFORMED, refusal.reason)
    }

    private fun controlling(kind: String, use: (Bundle, SwapController) -> Unit) {
        val bundle = Bundle.open(Machine.folder(kind))
        SwapController(bundle, Machine.program(bundle)).use { use(bundle, it) }
    }

    private fun goldenPack(kind: String) = Machine.folder("$kind.golden").readBytes()

    private fun worstError(
        bundle: Bundle, controller: SwapController, golden: Map<String, Tensor>, kind: String,
    ): Double = List(bundle.manifest.golden.count) { k ->
        val actual = controller.live.run(bundle.golden[k].inputs).first().floats()
        val expected = golden.getValue("$kind.$k.${bundle.manifest.outputs.first().name}").floats()
        actual.indices.maxOf { abs(actual[it] - expected[it]) } / maxOf(1f, expected.maxOf { abs(it) }).toDouble()
    }.max()
}
