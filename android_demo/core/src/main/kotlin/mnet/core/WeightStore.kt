package mnet.core

import java.io.File
import java.io.IOException

/**
 * Who a phone is to its server: its id, the bundle that it said it runs, its secret token, and the public keys that it
 * trusts.
 *
 * [keysAt] is when the server stated these keys (Unix seconds); [retired] are keys (JWK) that it stated before, good
 * for what this phone kept then and for nothing new.
 */
class Identity(
    val device: String,
    val bundle: String,
    val token: String,
    val keys: PublicKeys,
    val keysAt: Long,
    val retired: List<JsonObject> = emptyList(),
) {
    /** The same phone after an update of its app. */
    fun with(bundle: String) = Identity(device, bundle, token, keys, keysAt, retired)

    /** The same phone after it learnt the server's keys as they are now. */
    fun with(statement: KeyStatement): Identity {
        val before = (keys.jwks.objects("keys") + retired).distinct() - statement.keys.jwks.objects("keys").toSet()
        return Identity(device, bundle, token, statement.keys, statement.at, before)
    }
}

/** A verified release, with the signed text that it was read from. */
class Kept(val jws: String, val release: Release)

/**
 * What a phone keeps over a power loss: `identity.json`, `current.jws`, `previous.jws`, `packs/`, and `reset`;
 * [requestPolicy] keeps its `asked.json` beside them.
 *
 * A version is kept in the order pack, previous release, current release, each durably: whatever moment the power
 * fails at, `current.jws` names a pack that is wholly there, or the one before it does. Methods throw [IOException].
 */
class WeightStore(folder: File) {
    private val packs = File(folder, "packs")
    private val identityFile = File(folder, "identity.json")
    private val current = File(folder, "current.jws")
    private val previous = File(folder, "previous.jws")
    private val resetFile = File(folder, "reset")
    private val asked = File(folder, STATISTIC)

    init {
        packs.mkdirs()
        if (!packs.isDirectory) throw IOException("cannot keep the phone's state in $folder")
    }

    /** Who this phone was enrolled as; null before enrolment. Throws [BundleException] if the file is damaged. */
    fun identity(): Identity? {
        if (!identityFile.isFile) return null
        return try {
            val fields = parseJsonObject(identityFile.readBytes())
            Identity(
                fields.string("device"), fields.string("bundle"), fields.string("token"),
                PublicKeys(fields.child("keys")), fields.long("keys_at"), fields.child("retired").objects("keys"),
            )
        } catch (error: JsonException) {
            throw BundleException("$identityFile is damaged (${error.message}): delete it to enrol anew")
        }
    }

    /** Keep who the phone is, with its token; on Android the folder is the app's own. */
    fun saveIdentity(identity: Identity) {
        val fields = mapOf(
            "device" to identity.device, "bundle" to identity.bundle, "token" to identity.token,
            "keys" to identity.keys.jwks, "keys_at" to identity.keysAt, "retired" to mapOf("keys" to identity.retired),
        )
        writeDurably(identityFile, writeJson(fields).toByteArray())
    }

    /** Forget the server and everything that it sent. */
    fun clear() {
        for (file in listOf(identityFile, resetFile)) file.delete()
        clearVersions()
    }

    /** Forget every version, and what it was made from, and go on being known to the server. */
    fun clearVersions() {
        for (file in listOf(current, previous, asked) + packs.listFiles().orEmpty()) file.delete()
    }

    /** The kept releases as JWS, newest first; nothing in them is verified yet. */
    fun releases(): List<String> = listOf(current, previous).filter { it.isFile }.map { it.readText() }

    /** The kept pack of a verified release; [Refused] if it is gone or not the one released. */
    fun pack(release: Release): ByteArray {
        val file = packFile(release.sha256)
        if (!file.isFile) throw Refused(Reason.MISSING_FILE, "no pack ${file.name}")
        return file.readBytes().also { checkBytes(it, release) }
    }

    /** Keep a verified version as the current one, and the one that ran until now as the previous one. */
    fun save(new: Kept, pack: ByteArray, running: Kept?) {
        writeDurably(packFile(new.release.sha256), pack)
        if (running != null) writeDurably(previous, running.jws.toByteArray())
        writeDurably(current, new.jws.toByteArray())
        val kept = setOfNotNull(new.release.sha256, running?.release?.sha256).map(::packFile)
        packs.listFiles().orEmpty().filter { it !in kept }.forEach { it.delete() }
    }

    /** The user's wish to run the default weights instead of every version up to this one; 0 where there is none. */
    var resetVersion: Long
        get() = if (resetFile.isFile) resetFile.readText().toLongOrNull() ?: 0 else 0
        set(version) = writeDurably(resetFile, version.toString().toByteArray())

    private fun packFile(sha256: String) = File(packs, "$sha256.safetensors")
}
