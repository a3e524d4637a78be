package mnet.engine

import java.io.File
import java.util.UUID
import mnet.core.Binding
import mnet.core.Bundle
import mnet.core.BundleException
import mnet.core.Manifest
import mnet.core.Model
import mnet.core.ModelPerVersion
import mnet.core.Program
import mnet.core.Run
import mnet.core.Tensor
import mnet.core.arranged
import mnet.core.arrangedShape
import mnet.core.checkByteSlots
import mnet.core.patch

/** Bundles of target `android` on ExecuTorch. */
public object ExecuTorchProgram {
    /**
     * The threads of ExecuTorch's pool, which all models of a process share; 0 leaves the pool as it is. It is set with the
     * first model that is loaded here and never again: ExecuTorch frees the old pool, which models loaded before still use.
     * So set it before any model is loaded. IllegalStateException afterwards.
     */
    public var threads: Int
        get() = Forward.threads
        set(count) {
            Forward.threads = count
        }

    /**
     * Load the program of [bundle]; [BundleException] where this phone's ExecuTorch cannot. [scratch] is a folder of this
     * program's alone, in the app's storage, for versions whose weights are bytes of the program.
     */
    public fun load(bundle: Bundle, scratch: File): Program {
        val manifest = bundle.manifest
        if (manifest.target != "android") throw BundleException("the bundle is for target ${manifest.target}")
        val program = bundle.file(manifest.program)
        if (manifest.slots.any { it.binding is Binding.Bytes }) return programWithBytes(program, manifest, scratch)
        return load(program, manifest)
    }

    /** Load a program that takes the inputs of [manifest], and then its slots, if any, as further ones. */
    public fun load(file: File, manifest: Manifest): Program = ProgramWithInputs(file, manifest)
}

/**
 * The generated parameters are further inputs of `forward`. What is bound is a set of input tensors, in memory that no later
 * version writes to, so one loaded module serves them all.
 */
private class ProgramWithInputs(file: File, manifest: Manifest) : Program {
    private val slots = manifest.slots.sortedBy { (it.binding as Binding.Input).index }
    private val forward = Forward(file, manifest)

    init {
        val places = slots.map { (it.binding as Binding.Input).index }
        if (places != List(slots.size) { manifest.inputs.size + it }) {
            throw BundleException("forward does not take the model's inputs and then those of the slots")
        }
    }

    override fun bind(parameters: Map<String, Tensor>): Run {
        val weights = slots.map { slot ->
            val shape = arrangedShape(slot)
            val data = Forward.direct(slot.dtype, shape).apply { put(arranged(slot, parameters.getValue(slot.parameter))) }
            Forward.value(slot.dtype, shape, data)
        }
        val bound = forward.arguments(weights)
        return Run { given -> forward.run(bound, given) }
    }

    override fun close() = forward.close()
}

/**
 * The program whose generated parameters are constants of the file [template]: each version is a patched copy of it in
 * [scratch], under keys of its own, and the copy is deleted as soon as it is mapped.
 */
private fun programWithBytes(template: File, manifest: Manifest, scratch: File): Program {
    checkByteSlots(manifest)
    scratch.mkdirs()
    scratch.listFiles().orEmpty().filter { it.name.endsWith(SUFFIX) }.forEach { it.delete() } // of a run that was killed
    return ModelPerVersion { parameters ->
        val file = File(scratch, "${UUID.randomUUID()}$SUFFIX")
        try {
            template.copyTo(file)
            patch(file, manifest.slots, parameters)
            LoadedForward(Forward(file, manifest))
        } finally {
            file.delete()
        }
    }
}

private class LoadedForward(private val forward: Forward) : Model {
    private val arguments = forward.arguments()

    override fun run(inputs: List<Tensor>): List<Tensor> = forward.run(arguments, inputs)

    override fun close() = forward.close()
}

private const val SUFFIX = ".version.pte"
