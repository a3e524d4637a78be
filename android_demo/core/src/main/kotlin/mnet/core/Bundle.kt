package mnet.core

import java.io.File

/** A sample of eager PyTorch: `inputs` give `expected` under the default weights. */
public class GoldenSample(public val inputs: List<Tensor>, public val expected: List<Tensor>)

/** A bundle in a folder, whose every byte is the one that was exported. */
public class Bundle private constructor(public val folder: File, public val manifest: Manifest) {
    public val id: String get() = manifest.id

    /** The weights that the model was trained with, in the order of the slots: version 0. Throws [BundleException]. */
    public val defaultWeights: Map<String, Tensor> by lazy {
        read(manifest.defaultWeights) { checkParameters(it, manifest.slots) }
    }

    /** Throws [BundleException]. */
    public val golden: List<GoldenSample> by lazy {
        read(manifest.golden.samples) { tensors ->
            fun tensor(name: String, info: TensorInfo): Tensor {
                val tensor = tensors[name] ?: throw Refused(Reason.MISSING_TENSOR, "no tensor $name")
                if (tensor.dtype != info.dtype) throw Refused(Reason.WRONG_DTYPE, "$name is ${tensor.dtype}")
                if (!info.takes(tensor.shape)) throw Refused(Reason.WRONG_SHAPE, "$name is ${tensor.shape}")
                return tensor
            }
            List(manifest.golden.count) { k ->
                GoldenSample(
                    manifest.inputs.map { tensor("input.$k.${it.name}", it) },
                    manifest.outputs.map { tensor("default.$k.${it.name}", it) },
                )
            }
        }
    }

    /** The request policy `shift`; null in a bundle without one. Throws [BundleException] where it is damaged. */
    public val policy: Shift? by lazy { manifest.policy?.let { Shift.read(file(it).readBytes()) } }

    public fun file(path: String): File = File(folder, path)

    private fun <T> read(path: String, use: (Map<String, Tensor>) -> T): T = try {
        use(Safetensors(file(path).readBytes()).tensors())
    } catch (refusal: Refused) {
        throw BundleException("$path: ${refusal.message}")
    }

    public companion object {
        /**
         * Open the bundle in [folder]; files of role `bench` may be left away on a phone.
         *
         * Throws [IntegrityException] where a file was changed, is missing or was added since the export, another
         * [BundleException] where there is no bundle or it is of a schema unknown here.
         */
        public fun open(folder: File): Bundle {
            val raw = File(folder, Manifest.FILE)
            if (!raw.isFile) throw BundleException("$folder is not a bundle: it has no ${Manifest.FILE}")
            val manifest = Manifest.parse(raw.readBytes())
            checkFiles(folder, manifest)
            return Bundle(folder, manifest)
        }

        private fun checkFiles(folder: File, manifest: Manifest) {
            val found = folder.walkTopDown().filter { !it.isDirectory }
                .associateBy { it.relativeTo(folder).invariantSeparatorsPath } - Manifest.FILE
            val missing = manifest.files.filterValues { it.role == "device" }.keys - found.keys
            if (missing.isNotEmpty()) throw IntegrityException(Reason.MISSING_FILE, "${missing.first()} is missing")
            val extra = found.keys - manifest.files.keys
            if (extra.isNotEmpty()) {
                throw IntegrityException(Reason.EXTRA_FILE, "${extra.first()} is not part of the bundle")
            }
            for ((path, file) in found) checkFile(path, file, manifest.files.getValue(path))
        }

        private fun checkFile(path: String, file: File, expected: BundleFile) {
            if (file.length() != expected.size) {
                throw IntegrityException(Reason.WRONG_SIZE, "$path has ${file.length()} bytes, not ${expected.size}")
            }
            if (sha256Hex(file) != expected.sha256) {
                throw IntegrityException(Reason.WRONG_HASH, "$path was changed")
            }
        }
    }
}
