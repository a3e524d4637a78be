package mnet.core

import java.io.Closeable
import java.io.File
import java.io.IOException

/**
 * Who a phone is to its server: its id, the bundle that it said it runs, its secret token, and the public keys that it
 * trusts.
 *
 * [number] is that of the server's statement of these keys; [retired] are keys (JWK) that it stated before, good for what
 * this phone kept then and for nothing new. Where the server has [roots], these alone vouch for other keys, and for an [epoch]
 * in which nothing counts that was signed before.
 */
public class Identity(
    public val device: String,
    public val bundle: String,
    public val token: String,
    public val keys: PublicKeys,
    public val number: Long,
    public val retired: List<JsonObject> = emptyList(),
    public val epoch: Long = 0,
    public val roots: Roots? = null,
) {
    /** The same phone after an update of its app. */
    public fun with(bundle: String): Identity = Identity(device, bundle, token, keys, number, retired, epoch, roots)

    /**
     * The same phone after it learnt the server's keys as they are now. Without [roots] there is no other epoch: whoever has
     * a signing key could open one.
     */
    public fun with(statement: KeyStatement): Identity {
        val next = if (roots == null) epoch else statement.epoch
        val before = (keys.jwks.objects("keys") + retired).distinct() - statement.keys.jwks.objects("keys").toSet()
        val kept = if (next > epoch) emptyList() else before
        return Identity(device, bundle, token, statement.keys, statement.number, kept, next, roots)
    }

    /** The same phone with other [roots], as one that has heard another statement of keys, or none. */
    internal fun with(roots: Roots?, number: Long = this.number, epoch: Long = this.epoch) =
        Identity(device, bundle, token, keys, number, retired, epoch, roots)

    /** Whether it knows a newer statement of the server's keys. */
    internal fun isNewerThan(other: Identity): Boolean =
        epoch > other.epoch || epoch == other.epoch && number > other.number

    /** As [read] takes it. */
    internal val json: JsonObject get() = mapOf(
        "device" to device, "bundle" to bundle, "token" to token, "keys" to keys.jwks, "number" to number,
        "retired" to mapOf("keys" to retired), "epoch" to epoch, "roots" to roots?.json,
    )

    internal companion object {
        private val DEVICE = Regex("[0-9A-Za-z_]{1,64}")

        /** What an HTTP header can carry. */
        private val TOKEN = Regex("[!-~]{1,512}")

        /** From an answer, or a file that anybody may have changed. Throws [JsonException]. */
        fun read(fields: JsonObject): Identity {
            val identity = Identity(
                fields.matching("device", DEVICE), fields.string("bundle"), fields.matching("token", TOKEN),
                PublicKeys(fields.child("keys")), fields.long("number"), fields.child("retired").objects("keys"),
                if ("epoch" in fields) fields.long("epoch") else 0,
                if (fields["roots"] == null) null else Roots.read(fields.child("roots")),
            )
            if (identity.number !in 0..MAX_VERSION || identity.epoch !in 0..MAX_VERSION) {
                throw JsonException("number or epoch is not 0 to $MAX_VERSION")
            }
            if (identity.retired.isNotEmpty()) PublicKeys(fields.child("retired"))
            return identity
        }

        private fun JsonObject.matching(name: String, form: Regex): String =
            string(name).also { if (!form.matches(it)) throw JsonException("$name is not ${form.pattern}") }
    }
}

/** A verified release, with the signed text that it was read from. */
public class Kept(public val jws: String, public val release: Release)

/**
 * What a phone keeps over a power loss: `identity.json`, `current.jws`, `previous.jws`, `packs/`, `fresh.json`, `reset` and `measurements.json`;
 * [requestPolicy] keeps its `asked.json` in the same folder. The folder is for its owner and for one phone at a time, until [close].
 *
 * A version is kept in the order pack, previous release, current release, each durably: whatever moment the power
 * fails at, `current.jws` names a pack that is wholly there, or the one before it does. Methods throw [IOException].
 */
public class WeightStore(folder: File) : Closeable {
    private val own = StateFolder(folder)
    private val packs = own.subfolder("packs")
    private val identityFile = own.file("identity.json")
    private val current = own.file("current.jws")
    private val previous = own.file("previous.jws")
    private val resetFile = own.file("reset")
    private val freshFile = own.file("fresh.json")
    private val asked = own.file(STATISTIC)

    /** What the app measured. */
    internal val measurements = Measurements(own.file("measurements.json"))

    /** Let another phone have the folder. */
    override fun close(): Unit = own.close()

    /** Who this phone was enrolled as; null before enrolment. Throws [Refused] with malformed if the file is damaged. */
    public fun identity(): Identity? {
        if (!identityFile.isFile) return null
        return orMalformed("$identityFile is damaged, the phone must enrol again") {
            Identity.read(parseJsonObject(identityFile.readBytes()))
        }
    }

    /** Keep who the phone is, with its token. */
    public fun saveIdentity(identity: Identity): Unit = writeDurably(identityFile, writeJson(identity.json).toByteArray())

    /** Until when (Unix seconds) the kept version is known to be the newest; null where nothing is known. */
    public var freshUntil: Long?
        get() = if (freshFile.isFile) freshFile.readText().toDoubleOrNull()?.takeIf { it.isFinite() }?.toLong() else null
        set(until) = writeDurably(freshFile, until.toString().toByteArray())

    /** Forget the server and everything that it sent. */
    public fun clear() {
        for (file in listOf(identityFile, resetFile, freshFile)) file.delete()
        clearVersions()
    }

    /** Forget every version, and what it was made from; the phone stays known to the server. */
    public fun clearVersions() {
        for (file in listOf(current, previous, asked) + ownPacks()) file.delete()
        measurements.clear()
    }

    /** The kept releases as JWS, newest first; nothing in them is verified yet. */
    public fun releases(): List<String> = listOf(current, previous).filter { it.isFile }.map { it.readText() }

    /** The kept pack of a verified release; [Refused] if it is gone or not the one released. */
    public fun pack(release: Release): ByteArray {
        val data = try {
            packFile(release.sha256).readBytes()
        } catch (error: IOException) {
            throw Refused(Reason.MISSING_FILE, "no pack ${release.sha256}: ${error.message}")
        }
        return data.also { checkBytes(it, release) }
    }

    /** Keep a verified version as the current one, and the one that ran until now as the previous one. */
    public fun save(new: Kept, pack: ByteArray, running: Kept?) {
        writeDurably(packFile(new.release.sha256), pack)
        if (running != null) writeDurably(previous, running.jws.toByteArray())
        writeDurably(current, new.jws.toByteArray())
        val kept = setOfNotNull(new.release.sha256, running?.release?.sha256).map(::packFile)
        ownPacks().filter { it !in kept }.forEach { it.delete() }
    }

    /** The user's wish to run the default weights instead of every version up to this one; 0 where there is none. */
    public var resetVersion: Long
        get() = if (resetFile.isFile) resetFile.readText().toLongOrNull() ?: 0 else 0
        set(version) = writeDurably(resetFile, version.toString().toByteArray())

    private fun packFile(sha256: String) = File(packs, "$sha256.safetensors").also(::checkNoLink)

    /** What [save] leaves: packs, and parts of some that a power loss cut. Files of others stay. */
    private fun ownPacks(): List<File> = packs.listFiles().orEmpty().filter { PACK.matches(it.name) }

    private companion object {
        val PACK = Regex("[0-9a-f]{64}\\.safetensors|\\.[0-9a-f]{64}\\.safetensors\\.[0-9a-f-]{36}\\.tmp")
    }
}
