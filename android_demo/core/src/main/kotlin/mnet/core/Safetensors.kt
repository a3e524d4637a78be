package mnet.core

import java.nio.ByteBuffer
import java.nio.ByteOrder

/**
 * A safetensors file: 8 bytes of header length, a JSON header, then the tensors one after the other without a gap.
 * Format: https://huggingface.co/docs/safetensors.
 *
 * Reading throws [Refused] with `malformed`. The header is read at once, the tensors by [tensors].
 */
public class Safetensors(private val data: ByteArray) {
    private val header: JsonObject
    private val start: Int

    init {
        malformedIf(data.size < PREFIX) { "${data.size} bytes are no safetensors file" }
        val length = ByteBuffer.wrap(data).order(ByteOrder.LITTLE_ENDIAN).getLong(0)
        malformedIf(length !in 0..(data.size - PREFIX).toLong()) { "the header has $length bytes, the file ${data.size}" }
        start = PREFIX + length.toInt()
        header = orMalformed("the header") { parseJsonObject(data.copyOfRange(PREFIX, start)) }
    }

    /** The texts that the file carries in addition to its tensors. */
    public val metadata: JsonObject = orMalformed("the header") {
        if (METADATA in header) header.child(METADATA) else emptyMap()
    }

    /** Views of the tensors by name. */
    public fun tensors(): Map<String, Tensor> {
        val entries = orMalformed("the header") {
            header.filterKeys { it != METADATA }.mapValues { (name, value) -> Entry(asObject(value, name)) }
        }
        var end = 0L
        for ((name, entry) in entries.entries.sortedBy { it.value.begin }) {
            malformedIf(entry.begin != end || entry.end < entry.begin) { "$name does not follow the tensor before it" }
            malformedIf(entry.size() != entry.end - entry.begin) { "$name has not the bytes of its shape" }
            end = entry.end
        }
        malformedIf(end != (data.size - start).toLong()) { "the tensors end at $end, the file at ${data.size - start}" }
        return entries.mapValues { (_, entry) ->
            val bytes = ByteBuffer.wrap(data, start + entry.begin.toInt(), (entry.end - entry.begin).toInt())
            Tensor(NAMES[entry.dtype] ?: entry.dtype, entry.shape, bytes)
        }
    }

    private class Entry(fields: JsonObject) {
        val dtype = fields.string("dtype")
        val shape = fields.list("shape").map { it as? Long ?: throw JsonException("a shape is of whole numbers") }
        val begin: Long
        val end: Long

        init {
            val offsets = fields.list("data_offsets").map { it as? Long ?: throw JsonException("offsets are whole numbers") }
            if (offsets.size != 2) throw JsonException("a tensor has two offsets")
            begin = offsets[0]
            end = offsets[1]
        }

        fun size(): Long = orMalformed("a tensor") {
            val width = WIDTHS[dtype] ?: throw JsonException("unknown dtype $dtype")
            shape.fold(width) { size, length ->
                // A file of more than 2 GiB cannot be held in an array, so a larger product is wrong here.
                if (length < 0 || length > 0 && size > Int.MAX_VALUE / length) throw JsonException("shape $shape")
                size * length
            }
        }
    }

    private companion object {
        const val PREFIX = 8
        const val METADATA = "__metadata__"
        val NAMES = mapOf(
            "F32" to Tensor.FLOAT32, "F16" to Tensor.FLOAT16, "I8" to Tensor.INT8, "U8" to Tensor.UINT8,
            "I32" to Tensor.INT32, "I64" to Tensor.INT64, "BOOL" to Tensor.BOOL,
        )
        val WIDTHS = mapOf(
            "BOOL" to 1L, "U8" to 1L, "I8" to 1L, "F8_E4M3" to 1L, "F8_E5M2" to 1L, "I16" to 2L, "U16" to 2L,
            "F16" to 2L, "BF16" to 2L, "I32" to 4L, "U32" to 4L, "F32" to 4L, "I64" to 8L, "U64" to 8L, "F64" to 8L,
        )
    }
}

internal inline fun <T> orMalformed(where: String, read: () -> T): T = try {
    read()
} catch (error: JsonException) {
    throw Refused(Reason.MALFORMED, "$where: ${error.message}")
}

internal inline fun malformedIf(wrong: Boolean, detail: () -> String) {
    if (wrong) throw Refused(Reason.MALFORMED, detail())
}
