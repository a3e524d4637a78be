package mnet.core

import java.io.File
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
                "keys" -> KeyStatement.verify(fields.string("statement"), PublicKeys(phone.child("keys")))
                "pack" -> readPack(bytes("pack"), Bundle.open(bundle).manifest)
                "install" -> checkBytes(bytes("pack"), verify(newerThan = 0, now = phone.long("now")))
                "swap" -> swap(load)
                "manifest" -> Manifest.parse(bytes("manifest"))
                "bundle" -> scratch(::openChanged)
                "policy" -> Shift.read(bytes("file"))
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
