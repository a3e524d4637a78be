package mnet.litert

import java.nio.Buffer
import java.nio.ByteBuffer
import java.nio.ByteOrder
import mnet.core.BundleException
import mnet.core.Manifest
import mnet.core.Model
import mnet.core.Tensor
import mnet.core.TensorInfo
import org.tensorflow.lite.DataType
import org.tensorflow.lite.Interpreter
import org.tensorflow.lite.Tensor as NativeTensor

/** One version of the model in [data], an interpreter's; a lock is held during each inference, because LiteRT is not re-entrant. */
internal class Signature(data: ByteBuffer, private val manifest: Manifest, threads: Int) : Model {
    private val interpreter = interpreter(data, threads)
    private val lock = Any()
    private val inputs = named("args_", interpreter.getSignatureInputs(NAME)) { interpreter.getInputTensorFromSignature(it, NAME) }
    private val outputs = named("output_", interpreter.getSignatureOutputs(NAME)) { interpreter.getOutputTensorFromSignature(it, NAME) }

    init {
        try {
            check("takes inputs", inputs.values, manifest.inputs)
            check("gives outputs", outputs.values, manifest.outputs)
        } catch (error: BundleException) {
            interpreter.close()
            throw error
        }
    }

    override fun run(inputs: List<Tensor>): List<Tensor> = synchronized(lock) {
        require(inputs.size == manifest.inputs.size) { "the model takes ${manifest.inputs.size} inputs" }
        val given = this.inputs.entries.mapIndexed { index, (name, native) ->
            val (info, tensor) = manifest.inputs[index] to inputs[index]
            require(tensor.dtype == info.dtype && tensor.shape == info.shape) {
                "${info.name} is ${tensor.dtype} ${tensor.shape}, the model takes ${info.dtype} ${info.shape}"
            }
            name to written(tensor, native.dataType())
        }
        val taken = outputs.mapValues { (_, native) -> direct(native.numBytes()) }
        try {
            interpreter.runSignature(given.toMap<String, Any>(), taken.toMap<String, Any>(), NAME)
        } catch (error: IllegalArgumentException) {
            throw IllegalArgumentException("the model refuses these inputs: ${error.message}", error)
        } catch (error: IllegalStateException) {
            throw IllegalArgumentException("the model does not run: ${error.message}", error)
        }
        outputs.entries.mapIndexed { index, (name, native) -> read(taken.getValue(name), native, manifest.outputs[index]) }
    }

    override fun close() = synchronized(lock) { interpreter.close() }

    private companion object {
        const val NAME = "serving_default"

        fun interpreter(data: ByteBuffer, threads: Int): Interpreter = try {
            Interpreter(data, Interpreter.Options().setNumThreads(threads))
        } catch (error: IllegalArgumentException) {
            throw BundleException("LiteRT cannot load the model: ${error.message}")
        } catch (error: LinkageError) { // as where the app came without a library for this processor
            throw BundleException("LiteRT is not to be had: $error")
        }

        /** The exporter numbers inputs and outputs; LiteRT lists them by the alphabet. */
        fun named(prefix: String, names: Array<String>, tensor: (String) -> NativeTensor): Map<String, NativeTensor> =
            names.sortedBy { it.removePrefix(prefix).toIntOrNull() ?: throw BundleException("the model names $it, not $prefix and a number") }
                .associateWith(tensor)

        fun check(part: String, found: Collection<NativeTensor>, named: List<TensorInfo>) {
            val actual = found.map { tensor -> tensor.shape().map { it.toLong() } }
            val expected = named.map { it.shape }
            if (actual != expected) throw BundleException("the model $part of shapes $actual, its manifest says $expected")
        }

        fun direct(bytes: Int): ByteBuffer = ByteBuffer.allocateDirect(bytes).order(ByteOrder.nativeOrder())

        /** What the file takes: int32 where the model takes int64, which most of LiteRT's kernels lack. */
        fun written(tensor: Tensor, dtype: DataType): ByteBuffer {
            val narrowed = tensor.dtype == Tensor.INT64 && dtype == DataType.INT32
            val bytes = tensor.bytes()
            val data = direct(if (narrowed) bytes.remaining() / 2 else bytes.remaining())
            if (narrowed) for (value in tensor.longs()) data.putInt(narrow(value)) else data.put(bytes)
            (data as Buffer).rewind() // of ByteBuffer itself, it is of Java 9
            return data
        }

        fun narrow(value: Long): Int {
            require(value in Int.MIN_VALUE..Int.MAX_VALUE) { "the model takes no $value" }
            return value.toInt()
        }

        fun read(data: ByteBuffer, native: NativeTensor, info: TensorInfo): Tensor {
            (data as Buffer).rewind()
            if (info.dtype == Tensor.INT64 && native.dataType() == DataType.INT32) {
                return Tensor.of(info.shape, LongArray(data.remaining() / Tensor.width(Tensor.INT32)) { data.int.toLong() })
            }
            return Tensor(info.dtype, info.shape, data)
        }
    }
}
