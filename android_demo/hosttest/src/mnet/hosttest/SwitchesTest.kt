package mnet.hosttest

import com.facebook.jni.HybridData
import java.io.File
import java.util.concurrent.atomic.AtomicBoolean
import kotlin.concurrent.thread
import mnet.core.Bundle
import mnet.core.Reason
import mnet.core.Refused
import mnet.core.SwapController
import mnet.core.Tensor
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertSame
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.params.ParameterizedTest
import org.junit.jupiter.params.provider.ValueSource

/** Several packs are resident, and an app switches between them while another thread infers without a pause. */
class SwitchesTest {
    @ParameterizedTest
    @ValueSource(strings = ["inputs", "bytes"])
    fun `every output is of the weights that are in use`(kind: String) {
        val bundle = Bundle.open(Machine.folder(kind))
        val inputs = bundle.golden.first().inputs
        val packs = (1..3).map { File(Machine.folder("$kind.packs"), "$it.safetensors").readBytes() }
        SwapController(bundle, Machine.program(bundle)).use { controller ->
            val output = { controller.live.run(inputs).first().floats().toList() }
            val expected = mutableMapOf<String?, List<Float>>(null to output())
            for ((name, pack) in listOf("de", "fr").zip(packs)) {
                val serving = controller.live
                controller.load(name, pack)
                assertSame(serving, controller.live, "loading does not switch")
                controller.use(name)
                expected[name] = output()
            }
            assertEquals(3, expected.values.toSet().size)
            val reader = Reader(controller, inputs, expected)
            var stale = 0
            repeat(Machine.number("switches")) { switch ->
                val name = listOf(null, "de", "fr")[switch % 3]
                val seen = reader.count
                controller.use(name)
                if (output() != expected[name]) stale++
                while (reader.count == seen) check(reader.runs) { "the reader failed" }
            }
            reader.stop()
            assertEquals(0 to 0, reader.mixed to stale, "outputs of other weights, to the reader and after a switch")
            keepsWhatIsNamed(controller, packs, output)
        }
        assertEquals(0, HybridData.alive(), "modules are left")
    }

    private fun keepsWhatIsNamed(controller: SwapController, packs: List<ByteArray>, output: () -> List<Float>) {
        controller.use("de")
        val german = output()
        val loaded = HybridData.alive()
        controller.swap(packs[2])
        assertEquals(3L to null, controller.live.version to controller.live.name)
        controller.use("de")
        assertEquals(german, output())
        assertTrue(HybridData.alive() <= loaded, "what was swapped away is given back, what is resident stays loaded")
        val stale = assertThrows(Refused::class.java) { controller.load("de", packs[0]) }
        assertEquals(Reason.STALE_VERSION, stale.reason)
        controller.unload("de")
        assertEquals(german, output(), "it serves until another does")
        val absent = assertThrows(NoSuchElementException::class.java) { controller.use("de") }
        assertEquals("no weights are loaded as 'de'; there are fr", absent.message)
        controller.use(null)
        assertEquals(3L, controller.live.version)
    }

    /** Infers without a pause and counts the outputs that are not those [expected] of the name that served. */
    private class Reader(
        private val controller: SwapController, private val inputs: List<Tensor>, private val expected: Map<String?, List<Float>>,
    ) {
        private val stopped = AtomicBoolean()

        @Volatile
        var count = 0L
            private set
        var mixed = 0
            private set

        private val thread = thread {
            while (!stopped.get()) {
                val live = controller.live
                if (live.run(inputs).first().floats().toList() != expected[live.name]) mixed++
                count++
            }
        }

        val runs get() = thread.isAlive

        fun stop() {
            stopped.set(true)
            thread.join()
        }
    }
}
