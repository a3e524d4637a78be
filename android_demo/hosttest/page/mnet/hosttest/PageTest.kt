package mnet.hosttest

import androidx.work.ListenableWorker
import androidx.work.WorkerParameters
import com.example.ranker.FetchWeights
import com.example.ranker.RankerApplication
import com.example.ranker.answer
import com.example.ranker.follow
import com.example.ranker.samplesCame
import java.io.File
import kotlinx.coroutines.runBlocking
import mnet.core.Bundle
import mnet.core.CloudClient
import mnet.core.Phone
import mnet.core.requestPolicy
import mnet.views.Desk
import org.junit.jupiter.api.Assertions.assertArrayEquals
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir

/** The app that `docs/android.md` builds, as it stands there, on the real runtime and with a real server. */
class PageTest {
    @TempDir
    lateinit var folder: File

    private val bundle = Bundle.open(Machine.bundle)
    private val history = bundle.golden.first().inputs[0].longs()
    private val candidates = bundle.golden.first().inputs[1].longs()

    @Test
    fun `the app of the page serves, follows a server, asks, and fetches in the background`() {
        val app = started()
        val phone = checkNotNull(app.phone)
        val everybodys = scores(phone, version = 0)
        assertArrayEquals(bundle.golden.first().expected.first().floats(), everybodys, 1e-4f)
        Server(File(folder, "server").apply { mkdirs() }).use { server ->
            server.start()
            follow(phone, server.url, server.enrolmentKey) {}.use { await("an enrolment") { phone.enrolled } }
            val policy = requestPolicy("always", bundle, folder)
            CloudClient(server.url).use { samplesCame(phone, it, policy, listOf(3, 14, 15)) }
            // The worker's server is a name that nobody has: it is tried again.
            val worker = FetchWeights(app, WorkerParameters())
            assertEquals(ListenableWorker.Result.retry().toString(), runBlocking { worker.doWork() }.toString())
            follow(phone, server.url, "") {}.use { await("weights of its own") { phone.live.version > 0 } }
        }
        assertFalse(everybodys.contentEquals(scores(phone, version = 1)))
        phone.close()
        val again = checkNotNull(started().phone)
        assertEquals(1L, again.live.version)
        again.close()
    }

    private fun scores(phone: Phone, version: Long): FloatArray {
        val answer = answer(phone, history, candidates)
        assertEquals(version, answer.version)
        return answer.scores
    }

    private fun started(): RankerApplication {
        Desk.files = File(folder, "files")
        Desk.assets = Machine.folder("assets")
        val app = RankerApplication().apply { onCreate() }
        await("a phone") { app.phone != null }
        return app
    }

    private fun await(what: String, found: () -> Boolean) {
        val deadline = System.nanoTime() + 60_000_000_000
        while (!found()) {
            assertTrue(System.nanoTime() < deadline, "no $what came")
            Thread.sleep(10)
        }
    }
}
