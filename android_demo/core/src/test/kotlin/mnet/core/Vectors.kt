package mnet.core

import java.io.File
import java.nio.file.Files
import java.util.Base64

/** One of the vectors that `tests/vectors/write.py` wrote; [verdict] is what every phone must make of it. */
class Vector(private val fields: JsonObject, private val phone: JsonObject, private val bundle: File) {
    val name = fields.string("name")
    val kind = fields.string("kind")
    val verdict = fields.string("verdict")

    /** `accepted`, the name of the refusal, `not_believed` or `bundle_error`; [load] is needed for the kind `swap`. */
    fun judge(load: (Bundle) -> Program = { error("$kind needs a runtime") }): String {
        try {
            when (kind) {
                "release" -> verify(fields.long("newer_than"), fields["now"] as Long?)
                "keys" -> KeyStatement.verify(fields.string("statement"), PublicKeys(phone.child("keys")))
                "pack" -> readPack(bytes("pack"), Bundle.open(bundle).manifest)
                "install" -> checkBytes(bytes("pack"), verify(newerThan = 0, now = phone.long("now")))
                "swap" -> swap(load)
                "manifest" -> Manifest.parse(bytes("manifest"))
                "bundle" -> openChanged()
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

    private fun openChanged() {
        val changed = Files.createTempDirectory("vectors").toFile()
        try {
            bundle.copyRecursively(changed, overwrite = true)
            for ((path, content) in fields.child("files")) {
                val file = File(changed, path)
                if (content == null) file.delete() else file.writeBytes(decode(content))
            }
            Bundle.open(changed)
        } finally {
            changed.deleteRecursively()
        }
    }

    private fun bytes(name: String): ByteArray = decode(fields[name])

    private fun decode(text: Any?): ByteArray = Base64.getDecoder().decode(text as String)

    override fun toString(): String = name

    companion object {
        /** The folder with `vectors.json` and the bundle that they are about. */
        val folder = File(checkNotNull(System.getProperty("mnet.vectors")) { "-Dmnet.vectors=FOLDER is missing" })

        fun all(): List<Vector> {
            val content = parseJsonObject(File(folder, "vectors.json").readBytes())
            return content.objects("vectors").map { Vector(it, content.child("phone"), File(folder, "bundle")) }
        }
    }
}
