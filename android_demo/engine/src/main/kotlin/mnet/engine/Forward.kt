package mnet.engine

import java.io.Closeable
import java.io.File
import java.nio.Buffer
import java.nio.ByteBuffer
import java.nio.ByteOrder
import mnet.core.BundleException
import mnet.core.Manifest
import mnet.core.Tensor
import mnet.core.TensorInfo
import org.pytorch.executorch.EValue
import org.pytorch.executorch.Module
import org.pytorch.executorch.Tensor as NativeTensor

/**
 * One loaded `forward` of a model with the inputs of [manifest]. A lock is held during each call, because ExecuTorch is not
 * re-entrant. Throws [BundleException] where this phone's ExecuTorch cannot load [file], which may go once it is loaded.
 */
internal class Forward(file: File, private val manifest: Manifest) : Closeable {
    private val module = load(file)
    private val lock = Any()

    // The model's own inputs are written into tensors that live as long as the module: a call allocates none.
    private val staging = manifest.inputs.map { direct(it.dtype, it.shape) }
    private val inputs = manifest.inputs.zip(staging).map { (info, data) -> value(info.dtype, info.shape, data) }

    /** The arguments of [run]: the model's inputs, then [weights]. */
    fun arguments(weights: List<EValue> = emptyList()): Array<EValue> = (inputs + weights).toTypedArray()

    /** One inference of [arguments] for the model's inputs [given]; IllegalArgumentException on others than it takes. */
    fun run(arguments: Array<EValue>, given: List<Tensor>): List<Tensor> = synchronized(lock) {
        require(given.size == staging.size) { "the model takes ${staging.size} inputs" }
        for (index in given.indices) write(manifest.inputs[index], given[index], staging[index])
        val outputs = try {
            module.forward(*arguments)
        } catch (error: RuntimeException) {
            throw IllegalArgumentException("the model refuses these inputs: ${error.message}", error)
        }
        // Copies: the next call overwrites the outputs' memory.
        outputs.map { output -> output.toTensor().let { Tensor.of(it.shape().toList(), it.dataAsFloatArray) } }
    }

    override fun close() = synchronized(lock) { module.destroy() }

    private fun write(info: TensorInfo, given: Tensor, staging: ByteBuffer) {
        require(given.dtype == info.dtype && given.shape == info.shape) {
            "${info.name} is ${given.dtype} ${given.shape}, the model takes ${info.dtype} ${info.shape}"
        }
        (staging as Buffer).clear()
        staging.put(given.bytes())
    }

    companion object {
        fun direct(dtype: String, shape: List<Long>): ByteBuffer {
            val size = Tensor.width(dtype) * shape.fold(1L, Long::times)
            return ByteBuffer.allocateDirect(size.toInt()).order(ByteOrder.nativeOrder())
        }

        fun value(dtype: String, shape: List<Long>, data: ByteBuffer): EValue {
            val view = data.duplicate().order(ByteOrder.nativeOrder()).also { (it as Buffer).rewind() }
            val lengths = shape.toLongArray()
            return EValue.from(
                if (dtype == Tensor.INT64) NativeTensor.fromBlob(view.asLongBuffer(), lengths)
                else NativeTensor.fromBlob(view.asFloatBuffer(), lengths),
            )
        }

        private fun load(file: File): Module = try {
            // A model this small is slower on several threads.
            Module.load(file.path, Module.LOAD_MODE_MMAP, 1).apply { loadMethod("forward") }
        } catch (error: RuntimeException) {
            throw BundleException("ExecuTorch cannot load the program: ${error.message}")
        }
    }
}
