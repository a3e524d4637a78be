package mnet.core

import java.io.ByteArrayOutputStream
import java.io.Closeable
import java.io.IOException
import java.io.InputStream
import java.net.HttpRetryException
import java.net.HttpURLConnection
import java.net.MalformedURLException
import java.net.URL
import java.util.concurrent.CopyOnWriteArraySet

/** The server cannot be reached, is in trouble, or something else answers for it; try again later. */
class Offline(message: String) : Exception(message)

/** The server answered that it will not do this; [status] is HTTP's. */
class Denied(val status: Int, val detail: String) : Exception("$detail (HTTP $status)")

/**
 * The phone's side of the HTTP contract. Every call throws [Offline] or [Denied]; any thread may call.
 *
 * [server] is a URL such as `http://10.0.2.2:8765`; IllegalArgumentException where it is none.
 */
class CloudClient(server: String) : Closeable {
    private val base = server.trim().trimEnd('/') + "/v1"
    private val open = CopyOnWriteArraySet<HttpURLConnection>()

    @Volatile
    private var closed = false

    init {
        val url = try {
            URL(base)
        } catch (error: MalformedURLException) {
            throw IllegalArgumentException("$server is not a URL: ${error.message}")
        }
        require(url.protocol in setOf("http", "https") && url.host.isNotEmpty()) {
            "$server is not the URL of a server, such as http://10.0.2.2:8765"
        }
    }

    /** Become known to the server as a phone that runs [bundle]. */
    fun enrol(enrolmentKey: String, bundle: String): Identity {
        val answer = post("/devices", enrolmentKey, mapOf("bundle" to bundle))
        return contract {
            Identity(answer.string("device"), bundle, answer.string("token"), PublicKeys(answer.child("keys")))
        }
    }

    /** Upload a context, oldest sample first; returns the version that will stem from it. */
    fun upload(phone: Identity, samples: List<Long>): Long {
        val answer = post("/devices/${phone.device}/context", phone.token, mapOf("samples" to samples))
        return contract { answer.long("version") }
    }

    /** The newest release above version [after], as JWS; waits up to [waitSeconds] for one. */
    fun newestRelease(phone: Identity, after: Long, waitSeconds: Int): String? {
        val path = "/devices/${phone.device}/release?after=$after&timeout=$waitSeconds"
        return answered(path, phone.token, readTimeoutMs = waitSeconds * 1000 + READ_TIMEOUT_MS) { connection ->
            if (connection.responseCode == HttpURLConnection.HTTP_NO_CONTENT) return@answered null
            contract { json(connection).string("release") }
        }
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

    /** Break off what waits for an answer; the client is of no more use. */
    override fun close() {
        closed = true
        open.forEach { it.disconnect() }
    }

    private fun fetchMore(phone: Identity, sha256: String, size: Long, data: ByteArrayOutputStream) {
        // `identity`: Android would otherwise ask for gzip, of which no range can be had.
        val headers = mutableMapOf("Accept-Encoding" to "identity")
        if (data.size() > 0) headers["Range"] = "bytes=${data.size()}-"
        answered("/packs/$sha256", phone.token, headers) { connection ->
            if (connection.responseCode != HttpURLConnection.HTTP_PARTIAL) data.reset() // all of it from the start
            readChunks(connection) { chunk, length ->
                data.write(chunk, 0, length)
                if (data.size() > size) {
                    throw Refused(Reason.WRONG_SIZE, "the pack is over the $size bytes of its release")
                }
            }
        }
    }

    private fun post(path: String, secret: String, body: JsonObject): JsonObject =
        answered(path, secret, body = writeJson(body).toByteArray()) { json(it) }

    /** An answer of success, its body still to be read; all else becomes [Offline] or [Denied]. */
    private fun <T> answered(
        path: String,
        secret: String,
        headers: Map<String, String> = emptyMap(),
        body: ByteArray? = null,
        readTimeoutMs: Int = READ_TIMEOUT_MS,
        read: (HttpURLConnection) -> T,
    ): T {
        val connection = URL(base + path).openConnection() as HttpURLConnection
        open.add(connection)
        try {
            if (closed) throw Offline("the client was closed")
            connection.connectTimeout = CONNECT_TIMEOUT_MS
            connection.readTimeout = readTimeoutMs
            connection.instanceFollowRedirects = false
            connection.setRequestProperty("Authorization", "Bearer $secret")
            for ((name, value) in headers) connection.setRequestProperty(name, value)
            if (body != null) send(connection, body)
            check(connection)
            return read(connection)
        } catch (error: HttpRetryException) {
            throw Denied(error.responseCode(), "not authorised") // how the JDK answers a 401 to a body of fixed length
        } catch (error: IOException) {
            throw Offline("${error.javaClass.simpleName}: ${error.message}")
        } finally {
            open.remove(connection)
            connection.disconnect()
        }
    }

    private fun send(connection: HttpURLConnection, body: ByteArray) {
        connection.requestMethod = "POST"
        connection.doOutput = true
        connection.setRequestProperty("Content-Type", "application/json")
        // Of a fixed length, the platform does not send it a second time on its own.
        connection.setFixedLengthStreamingMode(body.size)
        connection.outputStream.use { it.write(body) }
    }

    private fun check(connection: HttpURLConnection) {
        val status = connection.responseCode
        if (status in 200..299) return
        if (status !in 300..499 || status == TOO_MANY_REQUESTS) throw Offline("the server answered HTTP $status")
        val detail = try {
            json(connection).string("detail")
        } catch (error: JsonException) {
            connection.responseMessage.orEmpty()
        }
        throw Denied(status, detail)
    }

    private fun json(connection: HttpURLConnection): JsonObject {
        val body = ByteArrayOutputStream()
        readChunks(connection) { chunk, length ->
            body.write(chunk, 0, length)
            if (body.size() > MAX_ANSWER_BYTES) throw Offline("the answer is too long to be that of an mnet server")
        }
        return contract { parseJsonObject(body.toByteArray()) }
    }

    private inline fun readChunks(connection: HttpURLConnection, use: (ByteArray, Int) -> Unit) {
        val stream: InputStream = connection.errorStream ?: connection.inputStream
        stream.use {
            val chunk = ByteArray(CHUNK_BYTES)
            while (true) {
                val length = it.read(chunk)
                if (length < 0) break
                use(chunk, length)
            }
        }
    }

    private companion object {
        const val CONNECT_TIMEOUT_MS = 5_000
        const val READ_TIMEOUT_MS = 10_000
        const val TOO_MANY_REQUESTS = 429
        const val MAX_ANSWER_BYTES = 4 * 1024 * 1024
        const val CHUNK_BYTES = 16 * 1024
    }
}

/** What does not read as the contract says comes from something else, such as a captive portal. */
private inline fun <T> contract(read: () -> T): T = try {
    read()
} catch (error: JsonException) {
    throw Offline("the answer is not that of an mnet server: ${error.message}")
}
