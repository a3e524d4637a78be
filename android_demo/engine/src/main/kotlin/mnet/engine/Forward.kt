package mnet.engine

import java.io.Closeable
import java.io.File
import java.nio.Buffer
import java.nio.ByteBuffer
import java.nio.ByteOrder
import mnet.core.BundleException
import mnet.core.Manifest
import mnet.core.Tensor
import org.pytorch.executorch.DType
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

    // Inputs of a fixed shape are written into tensors that live as long as the module: a call allocates none.
    private val staging = manifest.inputs.map { direct(it.dtype, it.shape) }
    private val inputs = manifest.inputs.zip(staging).map { (info, data) -> value(info.dtype, info.shape, data) }

    /** The arguments of [run]: the model's inputs, then [weights]. */
    fun arguments(weights: List<EValue> = emptyList()): Array<EValue> = (inputs + weights).toTypedArray()

    /** One inference of [arguments] for the model's inputs [given]; IllegalArgumentException on others than it takes. */
    fun run(arguments: Array<EValue>, given: List<Tensor>): List<Tensor> = synchronized(lock) {
        require(given.size == staging.size) { "the model takes ${staging.size} inputs" }
        val all = arguments.copyOf()
        for (index in given.indices) {
            val (info, tensor) = manifest.inputs[index] to given[index]
            require(tensor.dtype == info.dtype && info.takes(tensor.shape)) {
                "${info.name} is ${tensor.dtype} ${tensor.shape}, the model takes ${info.dtype} ${info.shape}"
            }
            if (tensor.shape == info.shape) write(tensor, staging[index])
            else all[index] = value(tensor.dtype, tensor.shape, direct(tensor.dtype, tensor.shape).also { write(tensor, it) })
        }
        val outputs = try {
            module.forward(*all)
        } catch (error: RuntimeException) {
            throw IllegalArgumentException("the model refuses these inputs: ${error.message}", error)
        }
        // Copies: the next call overwrites the outputs' memory.
        outputs.map { copy(it.toTensor()) }
    }

    override fun close() = synchronized(lock) { module.destroy() }

    private fun write(given: Tensor, staging: ByteBuffer) {
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
            val tensor = when (dtype) {
                Tensor.FLOAT32 -> NativeTensor.fromBlob(view.asFloatBuffer(), lengths)
                Tensor.FLOAT16 -> NativeTensor.fromBlob(view.asShortBuffer(), lengths)
                Tensor.INT64 -> NativeTensor.fromBlob(view.asLongBuffer(), lengths)
                Tensor.INT32 -> NativeTensor.fromBlob(view.asIntBuffer(), lengths)
                Tensor.UINT8 -> NativeTensor.fromBlobUnsigned(view, lengths)
                else -> throw BundleException("ExecuTorch's Java API takes no input of $dtype")
            }
            return EValue.from(tensor)
        }

        private fun copy(output: NativeTensor): Tensor {
            val shape = output.shape().toList()
            fun filled(dtype: String, fill: (ByteBuffer) -> Unit): Tensor {
                val size = Tensor.width(dtype) * shape.fold(1L, Long::times)
                return Tensor(dtype, shape, ByteBuffer.allocate(size.toInt()).order(ByteOrder.LITTLE_ENDIAN).also(fill))
            }
            return when (val dtype = output.dtype()) {
                DType.FLOAT -> Tensor.of(shape, output.dataAsFloatArray)
                DType.INT64 -> Tensor.of(shape, output.dataAsLongArray)
                DType.HALF -> filled(Tensor.FLOAT16) { it.asShortBuffer().put(output.dataAsShortArray) }
                DType.INT32 -> filled(Tensor.INT32) { it.asIntBuffer().put(output.dataAsIntArray) }
                DType.UINT8 -> filled(Tensor.UINT8) { it.duplicate().put(output.dataAsUnsignedByteArray) }
                else -> throw BundleException("an output is of $dtype, which this phone does not read")
            }
        }

        private fun load(file: File): Module = try {
            module(file).apply { loadMethod("forward") }
        } catch (error: RuntimeException) {
            throw BundleException("ExecuTorch cannot load the program: ${error.message}")
        } catch (error: LinkageError) { // as where the app came without a library for this processor
            throw BundleException("ExecuTorch is not to be had: $error")
        }

        /** A number of threads is passed on once a process: each time, ExecuTorch frees the pool that others use. */
        private fun module(file: File): Module {
            val count = synchronized(pool) { (if (pool.set) 0 else pool.threads).also { pool.set = true } }
            val mode = Module.LOAD_MODE_MMAP
            return if (count == 0) Module.load(file.path, mode) else Module.load(file.path, mode, count)
        }

        private val pool = Pool()

        var threads: Int
            get() = synchronized(pool) { pool.threads }
            set(count) = synchronized(pool) {
                check(!pool.set) { "a model was loaded already: its threads are those of the pool" }
                require(count >= 0) { "$count threads" }
                pool.threads = count
            }

        private class Pool(var threads: Int = 0, var set: Boolean = false)
    }
}
