package mnet.core

import java.security.MessageDigest

/** One file of a bundle; a phone needs those of role `device`. */
class BundleFile(val sha256: String, val size: Long, val role: String)

/** One input or output of the device model. */
class TensorInfo(val name: String, val dtype: String, val shape: List<Long>)

/** Where one generated parameter lives: for target `android`, input number [index] of `forward`. */
class Slot(val parameter: String, val dtype: String, val shape: List<Long>, val index: Int)

/** Samples with the outputs of eager PyTorch; an output may be off by `tolerance * max(1, largest expected)`. */
class GoldenEntry(val samples: String, val weights: String, val count: Int, val tolerance: Double)

/** The content of a bundle's `manifest.json`, as `export/manifest.py` writes it. */
class Manifest(
    val id: String,
    val target: String,
    val program: String,
    val files: Map<String, BundleFile>,
    val inputs: List<TensorInfo>,
    val outputs: List<TensorInfo>,
    val slots: List<Slot>,
    val defaultWeights: String,
    val golden: GoldenEntry,
) {
    /** Size of the generated parameters, in bytes. */
    val generatedBytes: Long get() = slots.sumOf { slot -> width(slot.dtype) * slot.shape.fold(1L, Long::times) }

    companion object {
        const val FILE = "manifest.json"
        private const val SCHEMA = "mnet.bundle/1.0"
        private val KNOWN = Regex("mnet\\.bundle/1\\.[0-9]+")

        /**
         * Read and check the bytes of `manifest.json`: its id is the SHA-256 of the same text without its `id` entry.
         *
         * Throws [IntegrityException] if a byte was changed, another [BundleException] for a schema unknown here.
         */
        fun parse(raw: ByteArray): Manifest {
            val content = try {
                parseJsonObject(raw)
            } catch (error: JsonException) {
                throw IntegrityException(Reason.MALFORMED, "$FILE: ${error.message}")
            }
            val schema = content["schema"] as? String
                ?: throw IntegrityException(Reason.MALFORMED, "$FILE names no schema")
            val text = String(raw, Charsets.UTF_8)
            // Where the id still vouches for our schema, the schema entry itself was changed: that is damage.
            val ours = text.replaceFirst("\"schema\":\"$schema\"", "\"schema\":\"$SCHEMA\"")
            if (!KNOWN.matches(schema) && !isSealed(ours, content)) {
                throw BundleException("the bundle is of schema $schema; this version reads $SCHEMA")
            }
            if (!isSealed(text, content)) {
                throw IntegrityException(Reason.WRONG_HASH, "$FILE was changed: it does not match its id")
            }
            return try {
                read(content)
            } catch (error: JsonException) {
                throw BundleException("$FILE breaks its schema: ${error.message}")
            }
        }

        private fun isSealed(text: String, content: JsonObject): Boolean {
            val id = content["id"] as? String ?: return false
            val entry = "\"id\":\"$id\","
            val at = text.indexOf(entry)
            return at >= 0 && sha256Hex(text.removeRange(at, at + entry.length).toByteArray()) == id
        }

        private fun read(content: JsonObject): Manifest = Manifest(
            id = content.string("id"),
            target = content.string("target"),
            program = content.child("model").path("program"),
            files = content.child("files").mapValues { (path, value) -> file(path, asObject(value, path)) },
            inputs = content.objects("inputs").map(::tensorInfo),
            outputs = content.objects("outputs").map(::tensorInfo),
            slots = content.objects("slots").map(::slot),
            defaultWeights = content.path("default_weights"),
            golden = content.child("golden").let { golden ->
                GoldenEntry(
                    golden.path("samples"), golden.path("weights"), golden.long("count").toInt(), golden.double("tolerance"),
                )
            },
        )

        private fun file(path: String, entry: JsonObject): BundleFile {
            checkPath(path)
            return BundleFile(entry.string("sha256"), entry.long("size"), entry.string("role"))
        }

        private fun tensorInfo(entry: JsonObject) =
            TensorInfo(entry.string("name"), entry.string("dtype"), entry.shape())

        private fun slot(entry: JsonObject): Slot {
            val binding = entry.child("binding")
            if (binding.string("kind") != "input") throw JsonException("this phone takes slots that are inputs")
            val travels = entry["pack_dtype"] ?: Tensor.FLOAT32
            if (travels != Tensor.FLOAT32) {
                throw JsonException("this phone reads no packs of dtype $travels: export with --pack-dtype fp32")
            }
            return Slot(entry.string("parameter"), entry.string("dtype"), entry.shape(), binding.long("index").toInt())
        }

        private fun JsonObject.shape(): List<Long> =
            list("shape").map { it as? Long ?: throw JsonException("a shape is of whole numbers") }

        private fun JsonObject.path(name: String): String = string(name).also(::checkPath)

        private fun checkPath(path: String) {
            val parts = path.split('/')
            if (parts.any { it.isEmpty() || it == "." || it == ".." } || '\\' in path) {
                throw JsonException("$path is not a plain path inside the bundle")
            }
        }

        private fun width(dtype: String): Long = if (dtype == Tensor.INT64) 8 else 4
    }
}

/** SHA-256 in lower-case hex: the name of a pack. */
fun sha256Hex(data: ByteArray): String =
    MessageDigest.getInstance("SHA-256").digest(data).joinToString("") { byte ->
        (byte.toInt() and 0xff).toString(16).padStart(2, '0')
    }
