package mnet.core

import java.io.Closeable
import java.io.IOException
import java.io.InputStream
import java.net.URL

/**
 * How a phone exchanges HTTP: [UrlTransport] by default; an app hands over the stack that it has, such as OkHttp's or Cronet's.
 *
 * Any thread calls it, several at once. It follows no redirect, decompresses nothing and repeats nothing: a phone does by
 * itself what of this is right.
 */
public fun interface Transport {
    /** Send [request]; returns when the head of the answer is there. Whatever it throws counts as no answer. */
    @Throws(IOException::class)
    public fun exchange(request: HttpRequest): HttpAnswer
}

/** What to send: [body] is JSON, null where there is none; [timeoutMs] is for the whole exchange. */
public class HttpRequest internal constructor(
    public val method: String,
    public val url: URL,
    public val headers: Map<String, String>,
    public val body: ByteArray?,
    public val timeoutMs: Long,
) {
    private var abort: (() -> Unit)? = null
    private var cancelled = false

    /** Have [action] run, on some thread, when nobody waits for the answer any longer; at once where that is so already. */
    public fun onCancel(action: () -> Unit) {
        val late = synchronized(this) { cancelled.also { abort = action } }
        if (late) action()
    }

    /** Break the exchange off: what reads its answer fails. */
    internal fun cancel() {
        val action = synchronized(this) {
            cancelled = true
            abort
        }
        action?.invoke()
    }
}

/** An answer whose [body] is still to be read; closed after that. */
public abstract class HttpAnswer : Closeable {
    /** HTTP's status code. */
    public abstract val status: Int

    /** As it came, nothing unpacked; reading it may throw IOException. */
    public abstract val body: InputStream

    /** The header of this name in any case, null where there is none. */
    public abstract fun header(name: String): String?
}
