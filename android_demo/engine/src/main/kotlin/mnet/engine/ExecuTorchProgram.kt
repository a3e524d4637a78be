package mnet.engine

import java.io.File
import java.util.Collections
import java.util.UUID
import java.util.WeakHashMap
import mnet.core.Binding
import mnet.core.Bundle
import mnet.core.BundleException
import mnet.core.Manifest
import mnet.core.Program
import mnet.core.Run
import mnet.core.Tensor
import mnet.core.arranged
import mnet.core.arrangedShape
import mnet.core.checkByteSlots
import mnet.core.patch

/** Bundles of target `android` on ExecuTorch. */
object ExecuTorchProgram {
    /**
     * Load the program of [bundle]; [BundleException] where this phone's ExecuTorch cannot. [scratch] is a folder of this
     * program's alone, in the app's storage, for versions whose weights are bytes of the program.
     */
    fun load(bundle: Bundle, scratch: File): Program {
        val manifest = bundle.manifest
        if (manifest.target != "android") throw BundleException("the bundle is for target ${manifest.target}")
        val program = bundle.file(manifest.program)
        if (manifest.slots.any { it.binding is Binding.Bytes }) return ProgramWithBytes(program, manifest, scratch)
        return load(program, manifest)
    }

    /** Load a program that takes the inputs of [manifest], and then its slots, if any, as further ones. */
    fun load(file: File, manifest: Manifest): Program = ProgramWithInputs(file, manifest)
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
 * The generated parameters are constants of the program: each version is a patched copy of the file [template], under keys of
 * its own, loaded as a new module. The copy is deleted as soon as it is mapped. A version that nobody refers to any more
 * is freed by the garbage collector, as every module is by fbjni.
 */
private class ProgramWithBytes(
    private val template: File, private val manifest: Manifest, private val scratch: File,
) : Program {
    private val loaded: MutableSet<Forward> = Collections.newSetFromMap(WeakHashMap())

    init {
        checkByteSlots(manifest)
        scratch.mkdirs()
        scratch.listFiles().orEmpty().filter { it.name.endsWith(SUFFIX) }.forEach { it.delete() } // of a run that was killed
    }

    override fun bind(parameters: Map<String, Tensor>): Run {
        val file = File(scratch, "${UUID.randomUUID()}$SUFFIX")
        val forward = try {
            template.copyTo(file)
            patch(file, manifest.slots, parameters)
            Forward(file, manifest)
        } finally {
            file.delete()
        }
        synchronized(loaded) { loaded.add(forward) }
        val arguments = forward.arguments()
        return Run { given -> forward.run(arguments, given) }
    }

    override fun close() = synchronized(loaded) { loaded.forEach { it.close() } }

    private companion object {
        const val SUFFIX = ".version.pte"
    }
}
