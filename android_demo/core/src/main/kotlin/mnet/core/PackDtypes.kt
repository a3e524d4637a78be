package mnet.core

import java.nio.Buffer
import java.nio.ByteBuffer
import java.nio.ByteOrder

/** A tensor of a pack: what a slot's parameter travels in, as `export/format/pack_dtypes.py` says. */
internal class Carrier(val name: String, val dtype: String, val shape: List<Long>)

/** The tensors that a pack holds for a slot: in int8, one scale for each output channel with the values. */
internal fun carriers(slot: Slot): List<Carrier> {
    val values = Carrier(slot.parameter, slot.packDtype, slot.shape)
    if (slot.packDtype != Tensor.INT8) return listOf(values)
    return listOf(values, Carrier(scaleName(slot), Tensor.FLOAT32, slot.shape.take(1)))
}

/** The tensors of a pack, checked against [carriers], as the fp32 parameter that they stand for. */
internal fun widened(slot: Slot, tensors: Map<String, Tensor>): Tensor {
    val tensor = tensors.getValue(slot.parameter)
    return when (slot.packDtype) {
        Tensor.INT8 -> dequantized(tensor, tensors.getValue(scaleName(slot)).floats())
        Tensor.FLOAT16 -> Tensor.of(tensor.shape, tensor.floats())
        else -> tensor
    }
}

/** `value = int8 * scale`, of one [scale] for each output channel, the first dimension. */
private fun dequantized(tensor: Tensor, scale: FloatArray): Tensor {
    val values = tensor.bytes()
    val count = values.remaining()
    val wide = ByteBuffer.allocate(4 * count).order(ByteOrder.LITTLE_ENDIAN)
    for (channel in scale.indices) {
        repeat(count / scale.size) { wide.putFloat(values.get() * scale[channel]) }
    }
    (wide as Buffer).rewind()
    return Tensor(Tensor.FLOAT32, tensor.shape, wide)
}

/** The number whose IEEE 754 half has these [bits], exactly. */
internal fun halfToFloat(bits: Short): Float {
    val sign = (bits.toInt() and 0x8000) shl 16
    val rest = (bits.toInt() and 0x7fff) shl 13
    if (rest >= HALF_INFINITY) return Float.fromBits(sign or FLOAT_INFINITY or rest)
    // Read as a float's, the exponent is too small by the difference of the two biases, 127 - 15.
    return Float.fromBits(sign or rest) * TWO_TO_112
}

private const val HALF_INFINITY = 0x7c00 shl 13
private const val FLOAT_INFINITY = 0x7f800000
private const val TWO_TO_112 = 5.192297E33f

private fun scaleName(slot: Slot) = "${slot.parameter}:scale"
