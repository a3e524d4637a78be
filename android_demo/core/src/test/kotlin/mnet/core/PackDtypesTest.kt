package mnet.core

import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test

class PackDtypesTest {
    @Test
    fun `every half is the number that IEEE 754 says`() {
        for (bits in 0..0xffff) {
            val (sign, exponent, mantissa) = listOf(bits shr 15, bits shr 10 and 31, bits and 1023)
            val magnitude = when {
                exponent == 31 && mantissa != 0 -> Double.NaN
                exponent == 31 -> Double.POSITIVE_INFINITY
                exponent == 0 -> Math.scalb(mantissa.toDouble(), -24)
                else -> Math.scalb(1024.0 + mantissa, exponent - 25)
            }
            val expected = (if (sign == 1) -magnitude else magnitude).toFloat()
            val actual = halfToFloat(bits.toShort())
            assertEquals(expected.toBits(), if (actual.isNaN()) Float.NaN.toBits() else actual.toBits(), "bits $bits")
        }
    }

    @Test
    fun `what travels in int8 is multiplied by the scale of its channel`() {
        val slot = Slot("w", Tensor.FLOAT32, listOf(2, 3), "OI", Tensor.INT8, Binding.Input(0))
        val values = Tensor(Tensor.INT8, slot.shape, java.nio.ByteBuffer.wrap(byteArrayOf(0, 1, -1, 127, -127, -128)))
        val scale = Tensor.of(listOf(2), floatArrayOf(0.5f, 1f / 1024))
        val wide = widened(slot, mapOf("w" to values, "w:scale" to scale))
        assertEquals(slot.shape, wide.shape)
        assertEquals(listOf(0f, 0.5f, -0.5f, 127f / 1024, -127f / 1024, -0.125f), wide.floats().toList())
        assertTrue(carriers(slot).map { it.name } == listOf("w", "w:scale"))
    }
}
