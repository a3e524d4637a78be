package mnet.core

import java.io.ByteArrayInputStream
import java.io.InputStream
import java.net.HttpRetryException
import java.net.HttpURLConnection

/** HTTP on what every Android has. */
public object UrlTransport : Transport {
    override fun exchange(request: HttpRequest): HttpAnswer {
        val connection = request.url.openConnection() as HttpURLConnection
        request.onCancel(connection::disconnect)
        try {
            connection.requestMethod = request.method
            connection.connectTimeout = CONNECT_TIMEOUT_MS
            connection.readTimeout = request.timeoutMs.coerceAtMost(Int.MAX_VALUE.toLong()).toInt()
            connection.instanceFollowRedirects = false
            for ((name, value) in request.headers) connection.setRequestProperty(name, value)
            request.body?.let { write(connection, it) }
            return UrlAnswer(connection, connection.responseCode)
        } catch (error: Throwable) {
            connection.disconnect()
            throw error
        }
    }

    private fun write(connection: HttpURLConnection, body: ByteArray) {
        connection.doOutput = true
        // Of a fixed length, the platform does not send it a second time on its own.
        connection.setFixedLengthStreamingMode(body.size)
        connection.outputStream.use { it.write(body) }
    }

    private const val CONNECT_TIMEOUT_MS = 5_000
}

private class UrlAnswer(private val connection: HttpURLConnection, override val status: Int) : HttpAnswer() {
    override val body: InputStream get() = try {
        connection.errorStream ?: connection.inputStream
    } catch (error: HttpRetryException) {
        // Of a 401 to a body of fixed length, the JDK gives the status alone.
        ByteArrayInputStream("""{"detail":"not authorised"}""".toByteArray())
    }

    override fun header(name: String): String? = connection.getHeaderField(name)

    override fun close() = connection.disconnect()
}
