package mnet.litert

import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
import mnet.core.Bundle
import mnet.core.BundleException
import mnet.core.ModelPerVersion
import mnet.core.Program
import mnet.core.checkByteSlots
import mnet.core.patch

/** Bundles of target `tflite` on LiteRT. */
public object LiteRtProgram {
    /**
     * Load the program of [bundle]; [BundleException] where this phone's LiteRT cannot. Each version of the weights is a copy of
     * the file in memory with its slots overwritten, and an interpreter of [threads] on it.
     */
    public fun load(bundle: Bundle, threads: Int = 1): Program {
        val manifest = bundle.manifest
        if (manifest.target != "tflite") throw BundleException("the bundle is for target ${manifest.target}")
        checkByteSlots(manifest)
        val template = bundle.file(manifest.program)
        return ModelPerVersion { parameters ->
            val data = read(template)
            patch(data, manifest.slots, parameters)
            Signature(data, manifest, threads)
        }
    }

    /** Of the interpreter alone: it reads these bytes as long as it lives. */
    private fun read(file: File): ByteBuffer {
        val data = ByteBuffer.allocateDirect(file.length().toInt()).order(ByteOrder.nativeOrder())
        file.inputStream().channel.use { channel ->
            while (data.hasRemaining()) if (channel.read(data) < 0) throw BundleException("$file was cut short while it was read")
        }
        return data
    }
}
