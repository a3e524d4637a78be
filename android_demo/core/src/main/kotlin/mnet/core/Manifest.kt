package mnet.core

import java.security.MessageDigest

/** One file of a bundle; a phone needs those of role `device`. */
class BundleFile(val sha256: String, val size: Long, val role: String)

/** One input or output of the device model. */
class TensorInfo(val name: String, val dtype: String, val shape: List<Long>)

/** How new weights reach the program. */
sealed class Binding {
    /** As input number [index] of `forward`. */
    class Input(val index: Int) : Binding()

    /** As [size] bytes at [offset] of a copy of [file]; at each of [keys] stands their SHA-256 in hex. */
    class Bytes(val file: String, val offset: Long, val size: Long, val keys: List<Long>) : Binding()
}

/**
 * Where one generated parameter lives. [shape] and [dtype] are PyTorch's, [layout] is how the runtime wants it, one letter a
 * dimension, and [packDtype] what it travels in.
 */
class Slot(
    val parameter: String, val dtype: String, val shape: List<Long>, val layout: String, val packDtype: String,
    val binding: Binding,
)

/** Samples with the outputs of eager PyTorch; an output may be off by `tolerance * max(1, largest expected)`. */
class GoldenEntry(val samples: String, val weights: String, val count: Int, val tolerance: Double)

/** The content of a bundle's `manifest.json`, as `export/format/manifest.py` writes it. */
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
    /** The file of the request policy `shift`, if the bundle has one. */
    val policy: String?,
) {
    /** Size of the generated parameters in the artifact, in bytes. */
    val generatedBytes: Long get() = slots.sumOf { slot -> Tensor.width(slot.dtype) * slot.shape.fold(1L, Long::times) }

    companion object {
        const val FILE = "manifest.json"
        private const val SCHEMA = "mnet.bundle/1.0"
        private val MODEL_DTYPES = setOf(Tensor.FLOAT32, Tensor.INT64)
        private val PACK_DTYPES = setOf(Tensor.FLOAT32, Tensor.FLOAT16, Tensor.INT8)
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
            golden = golden(content.child("golden")),
            policy = if (content["policy"] == null) null else content.path("policy"),
        )

        private fun golden(entry: JsonObject): GoldenEntry {
            val count = entry.long("count")
            val tolerance = entry.double("tolerance")
            // Without a sample, or with no end to what it may be off by, nothing would be tested.
            if (count !in 1..Int.MAX_VALUE) throw JsonException("$count golden samples")
            if (!tolerance.isFinite() || tolerance <= 0) throw JsonException("a tolerance of $tolerance")
            return GoldenEntry(entry.path("samples"), entry.path("weights"), count.toInt(), tolerance)
        }

        private fun file(path: String, entry: JsonObject): BundleFile {
            checkPath(path)
            return BundleFile(entry.string("sha256"), entry.long("size"), entry.string("role"))
        }

        private fun tensorInfo(entry: JsonObject) =
            TensorInfo(entry.string("name"), entry.oneOf("dtype", MODEL_DTYPES), entry.shape())

        private fun slot(entry: JsonObject) = Slot(
            entry.string("parameter"), entry.oneOf("dtype", setOf(Tensor.FLOAT32)), entry.shape(), entry.string("layout"),
            if ("pack_dtype" in entry) entry.oneOf("pack_dtype", PACK_DTYPES) else Tensor.FLOAT32,
            binding(entry.child("binding")),
        )

        private fun binding(entry: JsonObject): Binding = when (val kind = entry.string("kind")) {
            "input" -> Binding.Input(natural(entry["index"]).toInt())
            "bytes" -> Binding.Bytes(
                entry.path("file"), natural(entry["offset"]), natural(entry["size"]),
                if ("keys" in entry) entry.list("keys").map(::natural) else emptyList(),
            )
            else -> throw JsonException("slots of kind $kind belong to a runtime that this phone does not have")
        }

        private fun natural(value: Any?): Long =
            (value as? Long)?.takeIf { it >= 0 } ?: throw JsonException("$value is no natural number")

        private fun JsonObject.oneOf(name: String, known: Set<String>): String =
            string(name).also { if (it !in known) throw JsonException("unknown $name $it") }

        private fun JsonObject.shape(): List<Long> =
            list("shape").map(::natural)

        private fun JsonObject.path(name: String): String = string(name).also(::checkPath)

        private fun checkPath(path: String) {
            val parts = path.split('/')
            if (parts.any { it.isEmpty() || it == "." || it == ".." } || '\\' in path) {
                throw JsonException("$path is not a plain path inside the bundle")
            }
        }
    }
}

/** SHA-256 in lower-case hex: the name of a pack. */
fun sha256Hex(data: ByteArray): String =
    MessageDigest.getInstance("SHA-256").digest(data).joinToString("") { byte ->
        (byte.toInt() and 0xff).toString(16).padStart(2, '0')
    }
