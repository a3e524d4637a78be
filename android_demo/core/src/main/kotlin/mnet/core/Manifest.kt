package mnet.core

import java.io.File
import java.security.MessageDigest

/** One file of a bundle; a phone needs those of role `device`. */
public class BundleFile(public val sha256: String, public val size: Long, public val role: String)

/** A dimension that is only bounded: the [index]-th of a shape may be [min] to [max]; those of one [name] are equal. */
public class DynamicDimension(public val index: Int, public val name: String, public val min: Long, public val max: Long)

/**
 * One input or output of the device model. [shape] is that of golden sample 0, but for the [dynamic] dimensions; [scale] is
 * an output's root mean square over the golden samples, to which every error relates.
 */
public class TensorInfo(
    public val name: String, public val dtype: String, public val shape: List<Long>, public val dynamic: List<DynamicDimension> = emptyList(),
    public val scale: Double = 1.0,
) {
    /** Whether a tensor of this shape can be it. */
    public fun takes(given: List<Long>): Boolean = given.size == shape.size && given.indices.all { index ->
        val bounds = dynamic.find { it.index == index }
        if (bounds == null) given[index] == shape[index] else given[index] in bounds.min..bounds.max
    }
}

/** How new weights reach the program. */
public sealed class Binding {
    /** As input number [index] of `forward`. */
    public class Input(public val index: Int) : Binding()

    /**
     * As [size] bytes at [offset] of a copy of [file]. At each of [keys] stands the SHA-256, in hex, of the [hashedSize] bytes
     * at [hashedOffset], among which they are.
     */
    public class Bytes(
        public val file: String, public val offset: Long, public val size: Long, public val keys: List<Long>, public val hashedOffset: Long, public val hashedSize: Long,
    ) : Binding()
}

/**
 * Where one generated parameter lives. [shape] and [dtype] are PyTorch's, [layout] is how the runtime wants it, one letter a
 * dimension, and [packDtype] what it travels in.
 */
public class Slot(
    public val parameter: String, public val dtype: String, public val shape: List<Long>, public val layout: String, public val packDtype: String,
    public val binding: Binding,
)

/** Samples with the outputs of eager PyTorch; one may be off by `tolerance * max(its scale, largest expected)`. */
public class GoldenEntry(public val samples: String, public val weights: String, public val count: Int, public val tolerance: Double)

/** The content of a bundle's `manifest.json`, as `export/format/manifest.py` writes it. */
public class Manifest(
    public val id: String,
    public val target: String,
    public val program: String,
    public val files: Map<String, BundleFile>,
    public val inputs: List<TensorInfo>,
    public val outputs: List<TensorInfo>,
    public val slots: List<Slot>,
    public val defaultWeights: String,
    public val golden: GoldenEntry,
    /** The file of the request policy `shift`, if the bundle has one. */
    public val policy: String?,
) {
    /** Size of the generated parameters in the artifact, in bytes. */
    public val generatedBytes: Long get() = slots.sumOf { slot -> Tensor.width(slot.dtype) * slot.shape.fold(1L, Long::times) }

    public companion object {
        public const val FILE: String = "manifest.json"
        private const val SCHEMA = "mnet.bundle/2.0"
        private val MODEL_DTYPES = setOf(
            Tensor.BOOL, Tensor.UINT8, Tensor.INT32, Tensor.INT64, Tensor.FLOAT16, Tensor.FLOAT32,
        )
        private val PACK_DTYPES = setOf(Tensor.FLOAT32, Tensor.FLOAT16, Tensor.INT8)
        private val KNOWN = Regex("mnet\\.bundle/2\\.[0-9]+")

        /**
         * Read and check the bytes of `manifest.json`: its id is the SHA-256 of the same text without its `id` entry.
         *
         * Throws [IntegrityException] if a byte was changed, another [BundleException] for a schema unknown here.
         */
        public fun parse(raw: ByteArray): Manifest {
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
            inputs = content.objects("inputs").map { tensorInfo(it, 1.0) },
            outputs = content.objects("outputs").map { tensorInfo(it, scale(it)) }.ifEmpty { throw JsonException("no outputs") },
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

        private fun tensorInfo(entry: JsonObject, scale: Double): TensorInfo {
            val shape = entry.shape()
            val dynamic = if ("dynamic" in entry) entry.objects("dynamic").map { dimension(it, shape) } else emptyList()
            return TensorInfo(entry.string("name"), entry.oneOf("dtype", MODEL_DTYPES), shape, dynamic, scale)
        }

        private fun dimension(entry: JsonObject, shape: List<Long>): DynamicDimension {
            val (index, min, max) = listOf("dimension", "min", "max").map { natural(entry[it]) }
            if (index >= shape.size || min > max || max > Int.MAX_VALUE) throw JsonException("a wrong dynamic dimension $index")
            return DynamicDimension(index.toInt(), entry.string("name"), min, max)
        }

        private fun scale(entry: JsonObject): Double = entry.double("scale").also {
            if (!it.isFinite() || it <= 0) throw JsonException("a scale of $it")
        }

        private fun slot(entry: JsonObject) = Slot(
            entry.string("parameter"), entry.oneOf("dtype", setOf(Tensor.FLOAT32)), entry.shape(), entry.string("layout"),
            if ("pack_dtype" in entry) entry.oneOf("pack_dtype", PACK_DTYPES) else Tensor.FLOAT32,
            binding(entry.child("binding")),
        )

        private fun binding(entry: JsonObject): Binding = when (val kind = entry.string("kind")) {
            "input" -> Binding.Input(natural(entry["index"]).toInt())
            "bytes" -> {
                val hashed = if (entry["hashed"] == null) entry else entry.child("hashed")
                Binding.Bytes(
                    entry.path("file"), natural(entry["offset"]), natural(entry["size"]),
                    if ("keys" in entry) entry.list("keys").map(::natural) else emptyList(),
                    natural(hashed["offset"]), natural(hashed["size"]),
                )
            }
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
internal fun sha256Hex(data: ByteArray): String = hex(MessageDigest.getInstance("SHA-256").digest(data))

/** The same of a file, which is never in memory as a whole. Throws [java.io.IOException]. */
internal fun sha256Hex(file: File): String {
    val digest = MessageDigest.getInstance("SHA-256")
    file.inputStream().use { stream ->
        val piece = ByteArray(64 * 1024)
        while (true) {
            val length = stream.read(piece)
            if (length < 0) break
            digest.update(piece, 0, length)
        }
    }
    return hex(digest.digest())
}

private fun hex(digest: ByteArray): String =
    digest.joinToString("") { byte -> (byte.toInt() and 0xff).toString(16).padStart(2, '0') }
