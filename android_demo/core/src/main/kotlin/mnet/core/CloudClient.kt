package mnet.core

import java.io.ByteArrayOutputStream
import java.net.HttpURLConnection

/** The phone's side of the HTTP contract: one method a call; each throws [Offline] or [Denied]. */
class CloudClient(server: String) : HttpClient(server) {
    /** Become known to the server as a phone that runs [bundle]. */
    fun enrol(enrolmentKey: String, bundle: String): Identity {
        val answer = send("POST", "/devices", enrolmentKey, mapOf("bundle" to bundle))
        return contract {
            val keys = PublicKeys(answer.child("keys"))
            Identity(answer.string("device"), bundle, answer.string("token"), keys, answer.long("keys_at"))
        }
    }

    /** Say that the phone now runs [bundle], and no other. */
    fun install(phone: Identity, bundle: String) {
        send("PUT", "/devices/${phone.device}/bundles", phone.token, mapOf("bundles" to listOf(bundle)))
    }

    /** Upload a context; returns the version that will stem from it. */
    fun upload(phone: Identity, samples: Samples): Long {
        val answer = send("POST", "/devices/${phone.device}/context", phone.token, mapOf("samples" to samples.json))
        return contract { answer.long("version") }
    }

    /** The newest release above version [after], as JWS; waits up to [waitSeconds] for one. */
    fun newestRelease(phone: Identity, after: Long, waitSeconds: Int): String? {
        val path = "/devices/${phone.device}/release?after=$after&timeout=$waitSeconds&bundle=${phone.bundle}"
        return answered(path, phone.token, readTimeoutMs = (waitSeconds + 10) * 1000) { connection ->
            if (connection.responseCode == HttpURLConnection.HTTP_NO_CONTENT) return@answered null
            contract { json(connection).string("release") }
        }
    }

    /** Tell the server what became of a release: [TAKEN], or the name of the refusal. */
    fun report(phone: Identity, version: Long, outcome: String) {
        val body = mapOf("version" to version, "outcome" to outcome, "bundle" to phone.bundle)
        send("POST", "/devices/${phone.device}/reports", phone.token, body)
    }

    /** The server's public keys, signed once by each of them. */
    fun keyStatements(phone: Identity): List<String> = answered("/keys", phone.token) { connection ->
        contract { json(connection).texts("statements") }
    }

    /**
     * The [size] bytes of a pack; a cut download goes on where it broke as long as each try brings some.
     *
     * Throws [Refused] with wrong_size if the server sends another number of bytes; what they are is for the caller
     * to check.
     */
    fun fetchPack(phone: Identity, sha256: String, size: Long): ByteArray {
        val data = ByteArrayOutputStream()
        while (data.size() < size) {
            val before = data.size()
            try {
                fetchMore(phone, sha256, size, data)
            } catch (error: Offline) {
                if (data.size() == before || closed) throw error
                continue
            }
            if (data.size() < size) {
                throw Refused(Reason.WRONG_SIZE, "the pack is ${data.size()} bytes, its release says $size")
            }
        }
        return data.toByteArray()
    }

    private fun fetchMore(phone: Identity, sha256: String, size: Long, data: ByteArrayOutputStream) {
        // `identity`: Android would otherwise ask for gzip, of which no range can be had.
        val headers = mutableMapOf("Accept-Encoding" to "identity")
        if (data.size() > 0) headers["Range"] = "bytes=${data.size()}-"
        answered("/packs/$sha256", phone.token, headers = headers) { connection ->
            if (connection.responseCode != HttpURLConnection.HTTP_PARTIAL) data.reset() // all of it from the start
            readChunks(connection) { chunk, length ->
                data.write(chunk, 0, length)
                if (data.size() > size) {
                    throw Refused(Reason.WRONG_SIZE, "the pack is over the $size bytes of its release")
                }
            }
        }
    }

    companion object {
        /** The outcome of a release whose weights run. */
        const val TAKEN = "taken"
    }
}
