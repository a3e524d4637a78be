package mnet.core

import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.file.Files
import java.util.Base64

/** One of the vectors that `tests/vectors/write.py` wrote; [verdict] is what every phone must make of it. */
class Vector(private val fields: JsonObject, private val phone: JsonObject) {
    private val bundle = File(folder, "exported/${fields["bundle"] ?: "ranker"}")
    val name = fields.string("name")
    val kind = fields.string("kind")
    val verdict = fields.string("verdict")

    /** As `tests/vectors/write.py` says; [load] is needed for the kind `swap`. */
    fun judge(load: (Bundle) -> Program = { error("$kind needs a runtime") }): String {
        if (kind == "asks") return scratch(::asks)
        try {
            when (kind) {
                "release" -> verify(fields.long("newer_than"), fields["now"] as Long?)
                "keys" -> KeyStatement.verify(fields.string("statement"), PublicKeys(phone.child("keys")), phone.long("now"))
                "pack" -> readPack(bytes("pack"), Bundle.open(bundle).manifest)
                "install" -> checkBytes(bytes("pack"), verify(newerThan = 0, now = phone.long("now")))
                "swap" -> swap(load)
                "manifest" -> Manifest.parse(bytes("manifest"))
                "bundle" -> scratch(::openChanged)
                "policy" -> Shift.read(bytes("file"))
                "probe" -> checkProbe()
                else -> error("unknown kind $kind")
            }
        } catch (refusal: Refused) {
            return if (kind == "keys") "not_believed" else refusal.reason.toString()
        } catch (damage: IntegrityException) {
            return damage.reason.toString()
        } catch (error: BundleException) {
            return "bundle_error"
        }
        return "accepted"
    }

    private fun verify(newerThan: Long, now: Long?): Release {
        val keys = PublicKeys(phone.child("keys"))
        return verifyRelease(fields.string("jws"), keys, phone.string("device"), Bundle.open(bundle).id, newerThan, now)
    }

    private fun swap(load: (Bundle) -> Program) {
        val opened = Bundle.open(bundle)
        SwapController(opened, load(opened)).use { controller ->
            for (pack in fields.list("packs")) controller.swap(decode(pack))
        }
    }

    private fun checkProbe() {
        val outputs = fields.objects("outputs")
        val found = probe(outputs.map(::tensor), outputs.map { it.double("scale") })
        val stated = fields.list("probe").map { (it as Number).toDouble() }.toDoubleArray()
        if (!(distance(found, stated) <= 1e-9)) throw Refused(Reason.SELF_TEST_FAILED, "another probe")
    }

    private fun tensor(output: JsonObject): Tensor {
        val dtype = output.string("dtype")
        val values = output.list("values").map { value -> if (value is Boolean) (if (value) 1 else 0) else value as Number }
        val data = ByteBuffer.allocate(Tensor.width(dtype) * values.size).order(ByteOrder.LITTLE_ENDIAN)
        for (value in values) {
            when (dtype) {
                Tensor.FLOAT32 -> data.putFloat(value.toFloat())
                Tensor.FLOAT16 -> data.putShort(half(value.toFloat()))
                Tensor.INT64 -> data.putLong(value.toLong())
                Tensor.INT32 -> data.putInt(value.toInt())
                else -> data.put(value.toInt().toByte())
            }
        }
        data.rewind()
        return Tensor(dtype, listOf(values.size.toLong()), data)
    }

    /** The bits of the half that is this number, found among all. */
    private fun half(number: Float): Short =
        (Short.MIN_VALUE..Short.MAX_VALUE).first { halfToFloat(it.toShort()) == number }.toShort()

    private fun openChanged(changed: File) {
        bundle.copyRecursively(changed, overwrite = true)
        for ((path, content) in fields.child("files")) {
            val file = File(changed, path)
            if (content == null) file.delete() else file.writeBytes(decode(content))
        }
        Bundle.open(changed)
    }

    private fun asks(state: File): String = try {
        (fields["state"] as String?)?.let { File(state, STATISTIC).writeText(it) }
        val opened = Bundle.open(bundle)
        val window = fields.long("window").toInt()
        val stream = fields.list("samples")
        lateinit var policy: RequestPolicy
        stream.indices.joinToString(" ") { chance ->
            if (chance == 0 || chance.toLong() in fields.list("restarts")) {
                policy = requestPolicy(fields.string("policy"), opened, state)
            }
            val uploaded = samples(stream.subList(maxOf(0, chance + 1 - window), chance + 1))
            val asks = policy.asks(uploaded)
            policy.wentOn(uploaded, asks)
            if (asks) "ask" else "wait"
        }
    } catch (error: IllegalArgumentException) {
        "user_error"
    }

    private fun samples(values: List<Any?>): Samples =
        if (values.all { it is Long }) Samples.Ids(values.map { it as Long })
        else Samples.Vectors(values.map { row -> (row as List<*>).map { (it as Number).toFloat() }.toFloatArray() })

    private fun <T> scratch(use: (File) -> T): T {
        val folder = Files.createTempDirectory("vectors").toFile()
        try {
            return use(folder)
        } finally {
            folder.deleteRecursively()
        }
    }

    fun bytes(name: String): ByteArray = decode(fields[name])

    private fun decode(text: Any?): ByteArray = Base64.getDecoder().decode(text as String)

    override fun toString(): String = name

    companion object {
        /** The folder with `vectors.json` and the bundles that they are about. */
        val folder = File(checkNotNull(System.getProperty("mnet.vectors")) { "-Dmnet.vectors=FOLDER is missing" })

        fun all(): List<Vector> {
            val content = parseJsonObject(File(folder, "vectors.json").readBytes())
            return content.objects("vectors").map { Vector(it, content.child("phone")) }
        }
    }
}
