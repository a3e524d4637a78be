package mnet.core

import java.io.File
import java.io.RandomAccessFile
import java.nio.Buffer
import java.nio.ByteBuffer
import java.nio.ByteOrder

private val PYTORCH_LAYOUTS = listOf("", "O", "OI", "OIW", "OIHW", "OIDHW")
private const val KEY_SIZE = 64L

/** The shape of a slot's value as the runtime takes it. Throws [BundleException] if its layout is none of its shape. */
public fun arrangedShape(slot: Slot): List<Long> = dimensions(slot).map { slot.shape[it] }

/**
 * A parameter, which lies in PyTorch's layout, in the one that its slot wants, as `export/format/slots.py`: with its dimensions
 * in the order of the layout, less those of size 1 that it leaves out. The bytes belong to the caller.
 */
public fun arranged(slot: Slot, parameter: Tensor): ByteBuffer {
    val order = dimensions(slot)
    val from = parameter.bytes()
    val to = ByteBuffer.allocate(from.remaining()).order(ByteOrder.LITTLE_ENDIAN)
    val width = Tensor.width(slot.dtype)
    val strides = slot.shape.indices.map { width * slot.shape.drop(it + 1).fold(1L, Long::times).toInt() }
    fun copy(depth: Int, offset: Int) {
        if (depth == order.size) {
            for (k in 0 until width) to.put(from.get(offset + k))
        } else {
            for (k in 0 until slot.shape[order[depth]].toInt()) copy(depth + 1, offset + k * strides[order[depth]])
        }
    }
    if (order == order.indices.toList()) to.put(from) else copy(0, 0)
    (to as Buffer).rewind() // of ByteBuffer itself, it is of Java 9
    return to
}

/** Throws [BundleException] unless each slot is bytes of the program, inside it and as large as its parameter. */
public fun checkByteSlots(manifest: Manifest) {
    val size = manifest.files[manifest.program]?.size ?: throw BundleException("the bundle has no file ${manifest.program}")
    for (slot in manifest.slots) {
        val place = slot.binding as? Binding.Bytes
        val bytes = Tensor.width(slot.dtype) * arrangedShape(slot).fold(1L, Long::times)
        val fits = place != null && place.file == manifest.program && place.size == bytes &&
            place.offset <= size - place.size && place.hashedOffset <= size - place.hashedSize &&
            place.keys.all { it <= size - KEY_SIZE }
        if (!fits) throw BundleException("${slot.parameter} does not fit its slot in ${manifest.program}")
    }
}

/**
 * Overwrite the byte slots of a copy of the program, checked by [checkByteSlots], and the keys by which the runtime knows
 * their content. Throws [java.io.IOException].
 */
public fun patch(file: File, slots: List<Slot>, parameters: Map<String, Tensor>) {
    RandomAccessFile(file, "rw").use { out ->
        val places = slots.map { it.binding as Binding.Bytes }
        for ((slot, place) in slots.zip(places)) {
            out.seek(place.offset)
            out.write(arranged(slot, parameters.getValue(slot.parameter)).array())
        }
        // All slots first: a hashed range may hold several.
        for (place in places.filter { it.keys.isNotEmpty() }) {
            val hashed = ByteArray(place.hashedSize.toInt())
            out.seek(place.hashedOffset)
            out.readFully(hashed)
            val key = sha256Hex(hashed).toByteArray()
            for (offset in place.keys) {
                out.seek(offset)
                out.write(key)
            }
        }
    }
}

/** The same in memory, for a runtime that knows the content of its files by no key. */
public fun patch(program: ByteBuffer, slots: List<Slot>, parameters: Map<String, Tensor>) {
    for (slot in slots) {
        val place = slot.binding as Binding.Bytes
        val to = program.duplicate()
        (to as Buffer).position(place.offset.toInt())
        to.put(arranged(slot, parameters.getValue(slot.parameter)))
    }
}

/** Which dimension of PyTorch's each letter of the layout is. */
private fun dimensions(slot: Slot): List<Int> {
    val own = PYTORCH_LAYOUTS.getOrNull(slot.shape.size) ?: throw BundleException("${slot.parameter} is ${slot.shape}")
    val order = slot.layout.map { own.indexOf(it) }
    val left = own.indices - order.toSet()
    if (-1 in order || order.toSet().size != order.size || left.any { slot.shape[it] != 1L }) {
        throw BundleException("${slot.parameter} of shape ${slot.shape} has no layout ${slot.layout}")
    }
    return order
}
