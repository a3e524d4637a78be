package mnet.core

import java.nio.ByteBuffer
import java.nio.ByteOrder

/**
 * Numbers with a shape: row-major, little-endian, as safetensors and every Android ABI keep them.
 *
 * [dtype] is the manifest's name, such as `float32`, or safetensors' name for one that nothing here takes.
 */
public class Tensor(public val dtype: String, public val shape: List<Long>, data: ByteBuffer) {
    private val data: ByteBuffer = data.slice()

    /** The bytes, from the first to the last; each call gives a view of its own. */
    public fun bytes(): ByteBuffer = data.duplicate().order(ByteOrder.LITTLE_ENDIAN)

    /** The values of a float32 or float16 tensor. */
    public fun floats(): FloatArray {
        if (dtype == FLOAT16) {
            return bytes().asShortBuffer().let { halves -> FloatArray(halves.remaining()) { halfToFloat(halves.get(it)) } }
        }
        check(dtype == FLOAT32) { "the tensor is $dtype" }
        return bytes().asFloatBuffer().let { buffer -> FloatArray(buffer.remaining()).also { buffer.get(it) } }
    }

    public fun longs(): LongArray {
        check(dtype == INT64) { "the tensor is $dtype" }
        return bytes().asLongBuffer().let { buffer -> LongArray(buffer.remaining()).also { buffer.get(it) } }
    }

    /** The values of any tensor that a model may give, truth values as 0 and 1. */
    public fun numbers(): DoubleArray {
        val bytes = bytes()
        fun values(read: () -> Double) = DoubleArray(bytes.remaining() / width(dtype)) { read() }
        return when (dtype) {
            FLOAT32 -> values { bytes.float.toDouble() }
            FLOAT16 -> values { halfToFloat(bytes.short).toDouble() }
            INT64 -> values { bytes.long.toDouble() }
            INT32 -> values { bytes.int.toDouble() }
            UINT8, BOOL -> values { (bytes.get().toInt() and 0xff).toDouble() }
            else -> error("the tensor is $dtype")
        }
    }

    public companion object {
        public const val FLOAT32: String = "float32"
        public const val FLOAT16: String = "float16"
        public const val INT8: String = "int8"
        public const val UINT8: String = "uint8"
        public const val INT32: String = "int32"
        public const val INT64: String = "int64"
        public const val BOOL: String = "bool"

        /** Bytes of one element. */
        public fun width(dtype: String): Int = when (dtype) {
            INT64 -> 8
            FLOAT16 -> 2
            INT8, UINT8, BOOL -> 1
            else -> 4
        }

        public fun of(shape: List<Long>, values: FloatArray): Tensor {
            val data = ByteBuffer.allocate(4 * values.size).order(ByteOrder.LITTLE_ENDIAN)
            data.asFloatBuffer().put(values)
            return Tensor(FLOAT32, shape, data)
        }

        public fun of(shape: List<Long>, values: LongArray): Tensor {
            val data = ByteBuffer.allocate(8 * values.size).order(ByteOrder.LITTLE_ENDIAN)
            data.asLongBuffer().put(values)
            return Tensor(INT64, shape, data)
        }
    }
}
