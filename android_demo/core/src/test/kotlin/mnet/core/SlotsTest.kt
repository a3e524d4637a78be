package mnet.core

import java.io.File
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir

class SlotsTest {
    @TempDir
    lateinit var folder: File

    private fun slot(shape: List<Long>, layout: String, binding: Binding = Binding.Input(0)) =
        Slot("w", Tensor.FLOAT32, shape, layout, Tensor.FLOAT32, binding)

    private fun arrangedValues(slot: Slot): List<Float> {
        val count = slot.shape.fold(1L, Long::times).toInt()
        return arranged(slot, Tensor.of(slot.shape, FloatArray(count) { it.toFloat() })).asFloatBuffer().let { buffer ->
            List(buffer.remaining()) { buffer.get(it) }
        }
    }

    @Test
    fun `a parameter is put in the order of its layout`() {
        assertEquals(listOf(0f, 1f, 2f, 3f, 4f, 5f), arrangedValues(slot(listOf(2, 3), "OI")))
        assertEquals(listOf(0f, 3f, 1f, 4f, 2f, 5f), arrangedValues(slot(listOf(2, 3), "IO")))
        // [O, I, H, W] = [1, 2, 2, 2] to [H, W, I]: channel 1 lies 4 behind channel 0.
        val convolution = slot(listOf(1, 2, 2, 2), "HWI")
        assertEquals(listOf(2L, 2L, 2L), arrangedShape(convolution))
        assertEquals(listOf(0f, 4f, 1f, 5f, 2f, 6f, 3f, 7f), arrangedValues(convolution))
        assertEquals(listOf(3L, 2L), arrangedShape(slot(listOf(3, 2, 1, 1), "OI")))
    }

    @Test
    fun `a layout that is none of its shape is refused`() {
        for (layout in listOf("O", "OO", "OX", "OIH")) {
            assertThrows(BundleException::class.java, { arrangedShape(slot(listOf(2, 3), layout)) }, layout)
        }
    }

    @Test
    fun `bytes are written in their place, and their key is computed again`() {
        val file = File(folder, "program").apply { writeBytes(ByteArray(100) { 7 }) }
        val place = Binding.Bytes("program", offset = 4, size = 8, keys = listOf(20, 36), hashedOffset = 4, hashedSize = 8)
        patch(file, listOf(slot(listOf(2), "O", place)), mapOf("w" to Tensor.of(listOf(2), floatArrayOf(1f, -2f))))
        val written = file.readBytes()
        val value = byteArrayOf(0, 0, 0x80.toByte(), 0x3f, 0, 0, 0, 0xc0.toByte())
        assertEquals(value.toList(), written.slice(4 until 12))
        val key = sha256Hex(value).toByteArray().toList()
        assertEquals(key, written.slice(36 until 100))
        assertEquals(key.take(16), written.slice(20 until 36))
        assertEquals(listOf<Byte>(7, 7, 7, 7), written.slice(0 until 4))
    }
}
