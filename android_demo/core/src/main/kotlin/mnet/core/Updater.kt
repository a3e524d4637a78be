package mnet.core

import java.io.Closeable
import java.io.IOException
import java.util.concurrent.CountDownLatch
import java.util.concurrent.TimeUnit
import kotlin.random.Random

/** Waits that double up to a cap, each between half and all of itself, so that no fleet moves in step. */
public class Backoff(private val firstMs: Long = 200, private val capMs: Long = 30_000) {
    private var nextMs = firstMs

    public fun next(): Long = (nextMs * Random.nextDouble(0.5, 1.0)).toLong().also { nextMs = minOf(nextMs * 2, capMs) }

    public fun reset() {
        nextMs = firstMs
    }
}

/**
 * Keeps one phone up to date while it is open: enrols it where that is still to be done, then polls, whatever the
 * network does. Runs on a thread of its own; [close] ends it without waiting for an answer.
 */
public class Updater(
    private val phone: Phone,
    private val client: CloudClient,
    private val enrolmentKey: String,
    private val report: (PhoneEvent) -> Unit,
) : Closeable {
    private val stopped = CountDownLatch(1)
    private val thread = Thread(::run, "updater").apply {
        isDaemon = true
        start()
    }

    override fun close() {
        stopped.countDown()
        client.close()
    }

    /** Wait until the thread has ended. */
    public fun join(): Unit = thread.join()

    private fun run() {
        val backoff = Backoff()
        var connected = false
        while (stopped.count > 0) {
            var leastMillis = 0L
            val failure = try {
                if (connected) follow() else connect()
                connected = true
                backoff.reset()
                continue
            } catch (error: Busy) {
                leastMillis = error.retryAfterMillis
                PhoneEvent.MustWait(leastMillis)
            } catch (error: Offline) {
                PhoneEvent.WentOffline(error.message.orEmpty())
            } catch (error: Denied) {
                PhoneEvent.WasDenied(error.status, error.detail)
            } catch (refusal: Refused) {
                PhoneEvent.RefusedWeights(refusal.reason, refusal.detail)
            } catch (error: IOException) {
                PhoneEvent.Failed("the disk: ${error.message}")
            } catch (error: RuntimeException) {
                PhoneEvent.Failed(error.toString()) // as a fault of ours would be: the phone serves, and tries again
            }
            connected = false
            if (stopped.count > 0) report(failure)
            stopped.await(maxOf(leastMillis, backoff.next()), TimeUnit.MILLISECONDS)
        }
    }

    /** One question that is answered at once, to tell the user that there is a server. */
    private fun connect() {
        if (!phone.enrolled) phone.enrol(client, enrolmentKey)
        phone.poll(client, waitSeconds = 0)
        report(PhoneEvent.Connected)
    }

    private fun follow() {
        val started = System.nanoTime()
        val came = phone.poll(client, POLL_SECONDS)
        val waitedSeconds = (System.nanoTime() - started) / 1_000_000_000
        if (!came && waitedSeconds < POLL_SECONDS / 2) {
            throw Offline("the poll was answered before its time") // a server that stops, or something else
        }
    }

    private companion object {
        const val POLL_SECONDS = 25
    }
}
