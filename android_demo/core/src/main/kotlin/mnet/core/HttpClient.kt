package mnet.core

import java.io.ByteArrayOutputStream
import java.io.Closeable
import java.io.IOException
import java.net.HttpURLConnection
import java.net.MalformedURLException
import java.net.URL
import java.util.concurrent.CopyOnWriteArraySet
import java.util.concurrent.CountDownLatch
import java.util.concurrent.Future
import java.util.concurrent.RejectedExecutionException
import java.util.concurrent.ScheduledThreadPoolExecutor
import java.util.concurrent.TimeUnit

/** The server cannot be reached, is in trouble, or something else answers for it; try again later. */
public open class Offline(message: String) : Exception(message)

/** The server has enough to do, or enough of this phone: ask it nothing of the kind for [retryAfterMillis]. */
public class Busy(public val retryAfterMillis: Long) : Offline("the server asks to wait for ${retryAfterMillis / 1000} s")

/** The server answered that it will not do this; [status] is HTTP's. */
public class Denied(public val status: Int, public val detail: String) : Exception("$detail (HTTP $status)")

/**
 * HTTP to one server by [transport]. Every call throws [Offline] or [Denied]; any thread may call.
 *
 * [server] is a URL such as `http://10.0.2.2:8765`; IllegalArgumentException where it is none.
 */
public open class HttpClient(server: String, private val transport: Transport) : Closeable {
    private val base = server.trim().trimEnd('/') + "/v1"
    private val open = CopyOnWriteArraySet<HttpRequest>()
    private val closing = CountDownLatch(1)

    /** Ends exchanges at their deadline: a byte every few seconds passes any time-out of a single read, for hours. */
    private val deadlines = ScheduledThreadPoolExecutor(1) { Thread(it, "deadlines").apply { isDaemon = true } }
        .apply { removeOnCancelPolicy = true }

    @Volatile
    protected var closed: Boolean = false
        private set

    init {
        val url = try {
            URL(base)
        } catch (error: MalformedURLException) {
            throw IllegalArgumentException("$server is not a URL: ${error.message}")
        }
        require(url.protocol in setOf("http", "https") && url.host.isNotEmpty() && (url.port == -1 || url.port in PORTS)) {
            "$server is not the URL of a server, such as http://10.0.2.2:8765"
        }
    }

    /** Break off what waits for an answer; the client is of no more use. */
    override fun close() {
        closed = true
        closing.countDown()
        open.forEach { it.cancel() }
        deadlines.shutdownNow()
    }

    /** Wait, unless the client is closed. */
    protected fun pause(millis: Long) {
        closing.await(millis, TimeUnit.MILLISECONDS)
    }

    /** Send a JSON body; what is answered is an object, or nothing (204), which is an empty one. */
    protected fun send(method: String, path: String, secret: String, body: JsonObject): JsonObject =
        answered(path, secret, method, body = writeJson(body).toByteArray()) { answer ->
            if (answer.status == HttpURLConnection.HTTP_NO_CONTENT) emptyMap() else json(answer)
        }

    /** An answer of success, its body still to be read, all within [withinMs]; all else becomes [Offline] or [Denied]. */
    protected fun <T> answered(
        path: String,
        secret: String,
        method: String = "GET",
        headers: Map<String, String> = emptyMap(),
        body: ByteArray? = null,
        withinMs: Long = WITHIN_MS,
        read: (HttpAnswer) -> T,
    ): T {
        if (withinMs <= 0) throw Offline("the deadline of the whole exchange has passed")
        val request = HttpRequest(method, url(path), headers + headers(secret, body), body, withinMs)
        open.add(request)
        var deadline: Future<*>? = null
        try {
            if (closed) throw Offline("the client was closed")
            deadline = deadlines.schedule(request::cancel, withinMs, TimeUnit.MILLISECONDS)
            return exchanged(request).use { answer ->
                val encoding = answer.header("Content-Encoding")
                if (encoding != null && encoding != "identity") throw Offline("the answer is compressed, which was not asked for")
                check(answer)
                read(answer)
            }
        } catch (error: IOException) {
            throw Offline("${error.javaClass.simpleName}: ${error.message}")
        } catch (error: RejectedExecutionException) {
            throw Offline("the client was closed")
        } catch (error: RuntimeException) {
            // To this host, or with this secret; or a connection that ended in the middle of what the platform did with it.
            throw Offline("${error.javaClass.simpleName}: ${error.message}")
        } finally {
            deadline?.cancel(false)
            open.remove(request)
        }
    }

    private fun exchanged(request: HttpRequest): HttpAnswer = try {
        transport.exchange(request)
    } catch (error: Exception) { // as the app's own stack throws, too
        throw Offline("${error.javaClass.simpleName}: ${error.message}")
    }

    private fun url(path: String): URL = try {
        URL(base + path)
    } catch (error: MalformedURLException) {
        throw Offline("no such request can be sent: ${error.message}")
    }

    private fun headers(secret: String, body: ByteArray?): Map<String, String> {
        // Not compressed: of gzip, 2 KB can be 2 GB, and no range can be had.
        val common = mapOf("Accept-Encoding" to "identity", "Authorization" to "Bearer $secret")
        return if (body == null) common else common + ("Content-Type" to "application/json")
    }

    protected fun json(answer: HttpAnswer): JsonObject {
        val body = ByteArrayOutputStream()
        readChunks(answer) { chunk, length ->
            body.write(chunk, 0, length)
            if (body.size() > MAX_ANSWER_BYTES) throw Offline("the answer is too long to be that of an mnet server")
        }
        return contract { parseJsonObject(body.toByteArray()) }
    }

    protected fun readChunks(answer: HttpAnswer, use: (ByteArray, Int) -> Unit) {
        answer.body.use {
            val chunk = ByteArray(CHUNK_BYTES)
            while (true) {
                val length = it.read(chunk)
                if (length < 0) break
                use(chunk, length)
            }
        }
    }

    private fun check(answer: HttpAnswer) {
        val status = answer.status
        if (status in 200..299) return
        if (status == TOO_MANY_REQUESTS || status == HttpURLConnection.HTTP_UNAVAILABLE) {
            retryAfterMillis(answer)?.let { throw Busy(it) }
        }
        if (status !in 300..499 || status == TOO_MANY_REQUESTS) throw Offline("the server answered HTTP $status")
        throw Denied(status, (json(answer)["detail"] as? String).orEmpty())
    }

    /** `Retry-After` in its form of seconds (RFC 9110); nobody can send a phone away for more than an hour. */
    private fun retryAfterMillis(answer: HttpAnswer): Long? =
        answer.header("Retry-After")?.toLongOrNull()?.coerceIn(0, MAX_WAIT_SECONDS)?.times(1000)

    public companion object {
        private val PORTS = 1..65535

        /** Whether a key could be a server's: of what a header can carry, without blanks. */
        public fun isKey(text: String): Boolean = text.all { it in '!'..'~' }

        private const val WITHIN_MS = 30_000L
        private const val TOO_MANY_REQUESTS = 429
        private const val MAX_WAIT_SECONDS = 3600L
        private const val MAX_ANSWER_BYTES = 4 * 1024 * 1024
        private const val CHUNK_BYTES = 16 * 1024
    }
}

/** What does not read as the contract says comes from something else, such as a captive portal. */
internal inline fun <T> contract(read: () -> T): T = try {
    read()
} catch (error: JsonException) {
    throw Offline("the answer is not that of an mnet server: ${error.message}")
}
