package mnet.app.recommender

import java.io.Closeable
import java.io.File
import java.io.IOException
import java.util.concurrent.CountDownLatch
import java.util.concurrent.ExecutorService
import java.util.concurrent.Future
import java.util.concurrent.LinkedBlockingQueue
import java.util.concurrent.ScheduledThreadPoolExecutor
import java.util.concurrent.ThreadFactory
import java.util.concurrent.ThreadPoolExecutor
import java.util.concurrent.TimeUnit
import mnet.core.Bundle
import mnet.core.Busy
import mnet.core.CloudClient
import mnet.core.Denied
import mnet.core.Updater
import mnet.core.JsonException
import mnet.core.LatencyStats
import mnet.core.Offline
import mnet.core.Phone
import mnet.core.PhoneEvent
import mnet.core.Program
import mnet.core.Samples
import mnet.core.Snapshot
import mnet.core.WeightStore
import mnet.core.parseJson
import mnet.core.requestPolicy
import mnet.core.writeDurably
import mnet.core.writeJson

/**
 * The app without its screens: what was chosen, how that ranks the catalogue, and the weights that do it. Nothing here
 * is of Android, so it runs on a desktop as it does on a phone.
 *
 * [titles] name the items 1..N. [show] hears of every change, on a thread of the recommender's own. Methods return at
 * once. The constructor loads the model and takes a while.
 */
class Recommender(
    bundle: Bundle,
    program: Program,
    private val folder: File,
    private val titles: List<String>,
    private val show: (Screen) -> Unit,
) : Closeable {
    private val built = CountDownLatch(1)
    private val model = singleThread("model").apply { execute(built::await) }
    private val network = ScheduledThreadPoolExecutor(1, daemon("network"), ThreadPoolExecutor.DiscardPolicy())
    private var again: Future<*>? = null // of the thread `network`
    private val state = File(folder, "phone")
    private val phone = Phone(bundle, program, WeightStore(state), ::hear)
    private val ranking = Ranking(bundle.manifest, titles.size)
    private val packBytes = bundle.manifest.generatedBytes
    private val latency = LatencyStats()

    // All below belongs to the thread `model`.
    private val recentFile = File(folder, "recent.json")
    private val recent = restoreRecent()
    private val policy = requestPolicy(if (bundle.policy == null) WITHOUT_POLICY else "shift", bundle, state)
    private var uploading = false
    private var shown = phone.live
    private var before: Snapshot? = null
    private var lastSwap: PhoneEvent.Swapped? = null
    private var uploaded = emptyList<Int>()
    private var everybody = false
    private var status: Status = Status.Alone
    private var client: CloudClient? = null
    private var following: Updater? = null

    init {
        // What was reported meanwhile is heard now.
        built.countDown()
    }

    val enrolled: Boolean get() = phone.enrolled

    /** Show the present state. */
    fun refresh() = model.execute(::render)

    /** The user chose an item. */
    fun act(item: Int) = model.execute {
        recent.add(item)
        while (recent.size > REMEMBERED) recent.removeAt(0)
        keepRecent()
        chance()
        render()
    }

    /** Upload what was chosen, for new weights, whatever the policy says. */
    fun ask() = model.execute {
        if (canAsk) upload()
    }

    /** Show what the weights that came with the app suggest, or those of one's own again; what serves stays as it is. */
    fun compare(everybody: Boolean) = model.execute {
        this.everybody = everybody
        render()
    }

    /** Serve the weights that came with the app, until newer ones come. */
    fun reset() = model.execute {
        try {
            phone.reset()
        } catch (error: IOException) {
            status = Status.Offline
        }
        render()
    }

    /** Swap in a pack that nobody signed, until the next start; null, or why it was refused. For developers. */
    fun tryPack(pack: ByteArray, done: (String?) -> Unit) = model.execute {
        done(phone.tryPack(pack))
        render()
    }

    /** Follow a server as long as the app is in front. [server] is checked where it is typed in. */
    fun follow(server: String, enrolmentKey: String) = model.execute {
        if (following == null) {
            try {
                val opened = CloudClient(server)
                client = opened
                status = Status.Connecting
                following = Updater(phone, opened, enrolmentKey, ::hear)
            } catch (error: IllegalArgumentException) {
                status = Status.Offline
            }
            render()
        }
    }

    /** Stop following. */
    fun leave() = model.execute { hangUp() }

    /** Returns when nothing runs any more. */
    override fun close() {
        network.shutdownNow()
        model.execute {
            hangUp()?.join()
            phone.close()
        }
        model.shutdown()
        model.awaitTermination(CLOSING_SECONDS, TimeUnit.SECONDS)
        network.awaitTermination(CLOSING_SECONDS, TimeUnit.SECONDS)
    }

    /** What followed the server, which ends soon. */
    private fun hangUp(): Updater? {
        val last = following
        last?.close()
        following = null
        client = null
        return last
    }

    private val canAsk get() = client != null && phone.enrolled && recent.isNotEmpty() && !uploading

    /** What was chosen could be uploaded; the policy says whether it is. */
    private fun chance() {
        if (!canAsk) return
        val samples = samples()
        if (policy.asks(samples)) return upload()
        wentOn(samples, asked = false)
        if (status == Status.Waiting) status = Status.Settled
    }

    private fun upload() {
        val opened = client ?: return
        val samples = samples()
        uploading = true
        uploaded = recent.takeLast(WHY).asReversed()
        network.execute {
            val asked = upload(opened, samples)
            model.execute {
                uploading = false
                if (asked) wentOn(samples, asked = true)
                if (samples.ids != samples().ids) chance() // what was chosen meanwhile
                render()
            }
        }
    }

    /** Whether the server took them. On the thread `network`. */
    private fun upload(opened: CloudClient, samples: Samples): Boolean {
        try {
            phone.upload(opened, samples)
            return true
        } catch (error: Busy) {
            hear(PhoneEvent.MustWait(error.retryAfterMillis))
            if (again?.isDone != false) again = network.schedule(::ask, error.retryAfterMillis, TimeUnit.MILLISECONDS)
        } catch (error: Offline) {
            hear(PhoneEvent.WentOffline(error.message.orEmpty()))
        } catch (denial: Denied) {
            hear(PhoneEvent.WasDenied(denial.status, denial.detail))
        }
        return false
    }

    private fun samples() = Samples.Ids(recent.map { it.toLong() })

    private fun wentOn(samples: Samples, asked: Boolean) = try {
        policy.wentOn(samples, asked)
    } catch (error: IOException) {
        // A full disk: after a restart the phone asks once more than it had to.
    }

    private fun hear(event: PhoneEvent) {
        model.execute {
            status = when (event) {
                is PhoneEvent.Enrolled -> Status.Waiting
                // Its weights may have come before this was heard.
                is PhoneEvent.Uploaded ->
                    if (event.version > phone.live.version) Status.Asked(event.version) else Status.Waiting
                is PhoneEvent.Swapped -> Status.Waiting.also { lastSwap = event }
                is PhoneEvent.Connected -> Status.Waiting
                is PhoneEvent.RefusedWeights -> Status.Refused(event.reason)
                is PhoneEvent.MustWait -> Status.Busy(event.millis)
                is PhoneEvent.WentOffline -> Status.Offline
                is PhoneEvent.WentStale -> Status.Stale
                is PhoneEvent.BecameFresh -> Status.Waiting
                is PhoneEvent.Failed -> Status.Failed(event.detail)
                is PhoneEvent.WasDenied -> Status.Denied(event.detail)
            }
            render()
        }
    }

    private fun render() {
        val live = phone.live
        if (live !== shown) {
            before = shown
            shown = live
            everybody = false
        }
        val own = rows(live, before)
        val rows = if (everybody && live.version > 0) rows(phone.default, null) else own
        show(
            Screen(
                recent.asReversed().map { titles[it - 1] }, rows, weights(live), everybody, change(live, own),
                latency.latest(), latency.quantile(0.5), latency.quantile(0.9), status,
            ),
        )
    }

    private fun change(live: Snapshot, own: List<Row>): Change? {
        if (live.version == 0L || uploaded.isEmpty()) return null
        return Change(uploaded.map { titles[it - 1] }, own.count { it.moved > 0 }, own.count { it.moved < 0 })
    }

    private fun rows(live: Snapshot, before: Snapshot?): List<Row> {
        if (recent.isEmpty()) return List(minOf(ROWS, titles.size)) { Row(it + 1, titles[it], 0) }
        val now = ranked(ranking.scores(live.run, recent, latency), recent)
        val then = before?.let { ranked(ranking.scores(it.run, recent), recent) } ?: now
        val rankThen = then.withIndex().associate { (rank, item) -> item to rank }
        return now.take(ROWS).mapIndexed { rank, item -> Row(item, titles[item - 1], rankThen.getValue(item) - rank) }
    }

    private fun weights(live: Snapshot): Weights {
        val release = phone.running?.release?.takeIf { it.version == live.version }
        val swap = lastSwap?.takeIf { it.version == live.version }
        return Weights(
            live.version, release?.issuedAt, release?.size ?: packBytes, swap?.swapNanos, swap?.persisted ?: true,
        )
    }

    private fun restoreRecent(): MutableList<Int> {
        val kept = try {
            if (recentFile.isFile) parseJson(recentFile.readBytes()) as? List<*> else null
        } catch (error: JsonException) {
            null
        }
        return kept.orEmpty().mapNotNull { (it as? Long)?.toInt() }.filter { it in 1..titles.size }.toMutableList()
    }

    private fun keepRecent() = try {
        writeDurably(recentFile, writeJson(recent).toByteArray())
    } catch (error: IOException) {
        // A full disk: what was chosen lately is lost at the next start, and nothing else.
    }

    /** Work that comes after the shutdown is dropped. */
    private fun singleThread(name: String): ExecutorService = ThreadPoolExecutor(
        1, 1, 0, TimeUnit.SECONDS, LinkedBlockingQueue(), daemon(name), ThreadPoolExecutor.DiscardPolicy(),
    )

    private fun daemon(name: String) = ThreadFactory { Thread(it, name).apply { isDaemon = true } }

    private companion object {
        const val CLOSING_SECONDS = 60L // longer than any wait for an answer
        const val ROWS = 20
        const val WHY = 3
        const val WITHOUT_POLICY = "every:3"
        const val REMEMBERED = 50
    }
}
