package mnet.hosttest

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
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.DynamicTest
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.TestFactory

class EngineTest {
    @TestFactory
    fun `the phone gives the verdict on its runtime`(): List<DynamicTest> =
        Vector.all().filter { it.kind == "swap" }.map { vector ->
            DynamicTest.dynamicTest(vector.name) {
                assertEquals(vector.verdict, vector.judge { ExecuTorchProgram.load(it) })
            }
        }

    @Test
    fun `outputs are those of eager PyTorch, before and after a push`() {
        val bundle = Bundle.open(Machine.bundle)
        val golden = Safetensors(bundle.file(bundle.manifest.golden.samples).readBytes()).tensors()
        SwapController(bundle, ExecuTorchProgram.load(bundle)).use { controller ->
            assertTrue(worstError(bundle, controller, golden, "default") <= bundle.manifest.golden.tolerance)
            assertTrue(worstError(bundle, controller, golden, "swapped") > bundle.manifest.golden.tolerance)
            controller.swap(File(Machine.text("golden")).readBytes())
            assertTrue(worstError(bundle, controller, golden, "swapped") <= bundle.manifest.golden.tolerance)
        }
    }

    @Test
    fun `what is bound keeps its own weights`() {
        val bundle = Bundle.open(Machine.bundle)
        val inputs = bundle.golden.first().inputs
        SwapController(bundle, ExecuTorchProgram.load(bundle)).use { controller ->
            val old = controller.live
            val before = old.run(inputs).first().floats()
            controller.swap(File(Machine.text("golden")).readBytes())
            assertTrue(before.contentEquals(old.run(inputs).first().floats()))
            controller.reset()
            assertTrue(before.contentEquals(controller.live.run(inputs).first().floats()))
        }
    }

    @Test
    fun `inputs that do not fit are told, and the model goes on`() {
        val bundle = Bundle.open(Machine.bundle)
        val inputs = bundle.golden.first().inputs
        SwapController(bundle, ExecuTorchProgram.load(bundle)).use { controller ->
            val wrong = listOf(emptyList(), inputs.drop(1), inputs.map { Tensor.of(listOf(1), longArrayOf(0)) })
            for (given in wrong) {
                assertThrows(IllegalArgumentException::class.java) { controller.live.run(given) }
            }
            controller.live.run(inputs)
            val refusal = assertThrows(Refused::class.java) { controller.swap(ByteArray(100)) }
            assertEquals(Reason.MALFORMED, refusal.reason)
        }
    }

    private fun worstError(
        bundle: Bundle, controller: SwapController, golden: Map<String, Tensor>, kind: String,
    ): Double = List(bundle.manifest.golden.count) { k ->
        val actual = controller.live.run(bundle.golden[k].inputs).first().floats()
        val expected = golden.getValue("$kind.$k.${bundle.manifest.outputs.first().name}").floats()
        actual.indices.maxOf { abs(actual[it] - expected[it]) } / maxOf(1f, expected.maxOf { abs(it) }).toDouble()
    }.max()
}
