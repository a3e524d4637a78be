package mnet.core

import java.io.ByteArrayOutputStream
import java.net.HttpURLConnection

/** The answer to a poll: the newest [release] as JWS, or the signed statement that there is [nothingNewer], if any. */
public class Newest(public val release: String?, public val nothingNewer: String?)

/** The phone's side of the HTTP contract: one method a call; each throws [Offline] or [Denied]. */
public class CloudClient(server: String, transport: Transport = UrlTransport) : HttpClient(server, transport) {
    /** Become known to the server as a phone that runs [bundle]. */
    public fun enrol(enrolmentKey: String, bundle: String): Identity {
        val answer = send("POST", "/devices", enrolmentKey, mapOf("bundle" to bundle))
        return contract {
            Identity.read(answer + mapOf("bundle" to bundle, "retired" to mapOf("keys" to emptyList<Any>())))
        }
    }

    /** Say that the phone now runs [bundle], and no other. */
    public fun install(phone: Identity, bundle: String) {
        send("PUT", "/devices/${phone.device}/bundles", phone.token, mapOf("bundles" to listOf(bundle)))
    }

    /** Upload a context; returns the version that will stem from it. */
    public fun upload(phone: Identity, samples: Samples): Long {
        val answer = send("POST", "/devices/${phone.device}/context", phone.token, mapOf("samples" to samples.json))
        return contract {
            answer.long("version").also { if (it !in 1..MAX_VERSION) throw JsonException("version $it") }
        }
    }

    /** The newest release above version [after]; waits up to [waitSeconds] for one. */
    public fun newestRelease(phone: Identity, after: Long, waitSeconds: Int): Newest {
        val query = "after=$after&timeout=$waitSeconds&bundle=${phone.bundle}&keys=${phone.number}"
        val path = "/devices/${phone.device}/release?$query"
        return answered(path, phone.token, withinMs = (waitSeconds + 10) * 1000L) { answer ->
            if (answer.status == HttpURLConnection.HTTP_NO_CONTENT) {
                Newest(null, answer.header(NOTHING_NEWER))
            } else {
                contract { Newest(json(answer).string("release"), null) }
            }
        }
    }

    /** Tell the server what became of a release: [TAKEN], or the name of the refusal. */
    public fun report(phone: Identity, version: Long, outcome: String) {
        val body = mapOf("version" to version, "outcome" to outcome, "bundle" to phone.bundle)
        send("POST", "/devices/${phone.device}/reports", phone.token, body)
    }

    /** Send what the app measured; the server keeps the largest count of each. */
    internal fun sendTotals(phone: Identity, totals: Map<Measured, Totals>) {
        val rows = totals.map { (of, each) ->
            mapOf(
                "version" to of.version, "metric" to of.metric,
                "count" to each.count, "sum" to each.sum, "squares" to each.squares,
            )
        }
        val body = mapOf("bundle" to phone.bundle, "totals" to rows)
        send("PUT", "/devices/${phone.device}/measurements", phone.token, body)
    }

    /** The server's public keys, signed once by each of them. */
    public fun keyStatements(phone: Identity): List<String> = answered("/keys", phone.token) { answer ->
        contract { json(answer).texts("statements") }
    }

    /**
     * The [size] bytes of a pack; a cut download is resumed, a few times, after a pause.
     *
     * Throws [Offline] where it takes longer than [size] may take at the least rate, [Refused] with wrong_size if the server
     * sends another number of bytes; what they are is for the caller to check.
     */
    public fun fetchPack(phone: Identity, sha256: String, size: Long): ByteArray {
        val end = System.nanoTime() + (PACK_MS + size * 1000 / LEAST_BYTES_A_SECOND) * NANOS_A_MS
        fun leftMs() = (end - System.nanoTime()) / NANOS_A_MS
        val data = ByteArrayOutputStream()
        val backoff = Backoff()
        for (resumption in 0..RESUMPTIONS) {
            val before = data.size()
            try {
                fetchMore(phone, sha256, size, data, leftMs())
            } catch (error: Offline) {
                if (data.size() <= before || closed || resumption == RESUMPTIONS) throw error
                pause(minOf(backoff.next(), maxOf(0, leftMs())))
                continue
            }
            if (data.size() < size) {
                throw Refused(Reason.WRONG_SIZE, "the pack is ${data.size()} bytes, its release says $size")
            }
            return data.toByteArray()
        }
        error("the last resumption returns or throws")
    }

    private fun fetchMore(phone: Identity, sha256: String, size: Long, data: ByteArrayOutputStream, withinMs: Long) {
        val headers = if (data.size() > 0) mapOf("Range" to "bytes=${data.size()}-") else emptyMap()
        answered("/packs/$sha256", phone.token, headers = headers, withinMs = withinMs) { answer ->
            if (answer.status != HttpURLConnection.HTTP_PARTIAL) data.reset() // all of it from the start
            readChunks(answer) { chunk, length ->
                data.write(chunk, 0, length)
                if (data.size() > size) {
                    throw Refused(Reason.WRONG_SIZE, "the pack is over the $size bytes of its release")
                }
            }
        }
    }

    public companion object {
        /** The outcome of a release whose weights run. */
        public const val TAKEN: String = "taken"

        /** That for a day nobody said that the running version is the newest. */
        public const val STALE: String = "stale"

        // A download may take this long, and then as long as it needs at the least rate.
        private const val PACK_MS = 30_000L
        private const val LEAST_BYTES_A_SECOND = 8 * 1024
        private const val RESUMPTIONS = 8
        private const val NANOS_A_MS = 1_000_000L
    }
}
