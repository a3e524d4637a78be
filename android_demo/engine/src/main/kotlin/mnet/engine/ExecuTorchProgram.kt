package mnet.engine

import java.io.File
import java.nio.Buffer
import java.nio.ByteBuffer
import java.nio.ByteOrder
import mnet.core.Bundle
import mnet.core.BundleException
import mnet.core.Manifest
import mnet.core.Program
import mnet.core.Run
import mnet.core.Tensor
import mnet.core.TensorInfo
import org.pytorch.executorch.EValue
import org.pytorch.executorch.Module
import org.pytorch.executorch.Tensor as NativeTensor

/**
 * A bundle of target `android` on ExecuTorch: the generated parameters are further inputs of `forward`.
 *
 * What is bound is a set of input tensors, in memory that no later version writes to, so one loaded module serves them
 * all; a lock is held during each call, because ExecuTorch is not re-entrant.
 */
class ExecuTorchProgram private constructor(private val module: Module, private val manifest: Manifest) : Program {
    private val lock = Any()

    // The model's own inputs are written into tensors that live as long as the program: a call allocates none.
    private val staging = manifest.inputs.map { direct(it.dtype, it.shape) }
    private val inputs = manifest.inputs.zip(staging).map { (info, data) -> value(info.dtype, info.shape, data) }

    override fun bind(parameters: Map<String, Tensor>): Run {
        val arguments = arrayOfNulls<EValue>(inputs.size + manifest.slots.size)
        inputs.forEachIndexed { index, input -> arguments[index] = input }
        for (slot in manifest.slots) {
            val weights = parameters.getValue(slot.parameter)
            val data = direct(slot.dtype, slot.shape).apply { put(weights.bytes()) }
            arguments[slot.index] = value(slot.dtype, slot.shape, data)
        }
        val bound = arguments.requireNoNulls()
        return Run { given -> run(bound, given) }
    }

    override fun close() = synchronized(lock) { module.destroy() }

    private fun run(arguments: Array<EValue>, given: List<Tensor>): List<Tensor> = synchronized(lock) {
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

    private fun write(info: TensorInfo, given: Tensor, staging: ByteBuffer) {
        require(given.dtype == info.dtype && given.shape == info.shape) {
            "${info.name} is ${given.dtype} ${given.shape}, the model takes ${info.dtype} ${info.shape}"
        }
        (staging as Buffer).clear()
        staging.put(given.bytes())
    }

    companion object {
        /** Load the program of [bundle]; BundleException where this phone's ExecuTorch cannot. */
        fun load(bundle: Bundle): ExecuTorchProgram {
            val manifest = bundle.manifest
            if (manifest.target != "android") throw BundleException("the bundle is for target ${manifest.target}")
            return load(bundle.file(manifest.program), manifest)
        }

        /** Load a program that takes the inputs and slots of [manifest]. */
        fun load(file: File, manifest: Manifest): ExecuTorchProgram {
            val module = try {
                // A model this small is slower on several threads.
                Module.load(file.path, Module.LOAD_MODE_MMAP, 1)
            } catch (error: RuntimeException) {
                throw BundleException("ExecuTorch cannot load the program: ${error.message}")
            }
            return ExecuTorchProgram(module, manifest)
        }

        private fun direct(dtype: String, shape: List<Long>): ByteBuffer {
            val width = if (dtype == Tensor.INT64) 8 else 4
            return ByteBuffer.allocateDirect(width * shape.fold(1L, Long::times).toInt()).order(ByteOrder.nativeOrder())
        }

        private fun value(dtype: String, shape: List<Long>, data: ByteBuffer): EValue {
            val view = data.duplicate().order(ByteOrder.nativeOrder()).also { (it as Buffer).rewind() }
            val lengths = shape.toLongArray()
            return EValue.from(
                if (dtype == Tensor.INT64) NativeTensor.fromBlob(view.asLongBuffer(), lengths)
                else NativeTensor.fromBlob(view.asFloatBuffer(), lengths),
            )
        }
    }
}
