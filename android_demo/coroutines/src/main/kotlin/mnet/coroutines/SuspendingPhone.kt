package mnet.coroutines

import kotlinx.coroutines.CoroutineStart
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.awaitCancellation
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.ensureActive
import kotlinx.coroutines.launch
import kotlinx.coroutines.withContext
import mnet.core.CloudClient
import mnet.core.Offline
import mnet.core.Phone
import mnet.core.Samples
import mnet.core.Transport
import mnet.core.UrlTransport

/**
 * What [phone] asks of [server], suspending: each call waits on [Dispatchers.IO] and throws what the call of [Phone] throws.
 *
 * Cancellation breaks the exchange off at once. Inference needs none of this: it is [Phone.live].
 */
public class SuspendingPhone(
    private val phone: Phone,
    private val server: String,
    private val transport: Transport = UrlTransport,
) {
    /** See [Phone.enrol]. */
    public suspend fun enrol(enrolmentKey: String): Unit = calling { phone.enrol(it, enrolmentKey) }

    /** See [Phone.upload]. */
    public suspend fun upload(samples: Samples): Long = calling { phone.upload(it, samples) }

    /** See [Phone.poll]. */
    public suspend fun poll(waitSeconds: Int): Boolean = calling { phone.poll(it, waitSeconds) }

    /** A client for each call: to close it is what ends a call that waits for its answer. */
    private suspend fun <T> calling(call: (CloudClient) -> T): T = coroutineScope {
        val client = CloudClient(server, transport)
        val watch = launch(start = CoroutineStart.UNDISPATCHED) {
            try {
                awaitCancellation()
            } finally {
                client.close()
            }
        }
        try {
            withContext(Dispatchers.IO) {
                try {
                    call(client)
                } catch (error: Offline) {
                    ensureActive() // what was broken off is cancelled, not offline
                    throw error
                }
            }
        } finally {
            watch.cancel()
        }
    }
}
