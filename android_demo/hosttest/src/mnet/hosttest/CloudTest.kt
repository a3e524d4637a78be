package mnet.hosttest

import com.sun.net.httpserver.HttpServer
import java.io.Closeable
import java.io.File
import java.net.InetSocketAddress
import java.util.concurrent.LinkedBlockingQueue
import java.util.concurrent.TimeUnit
import mnet.core.Bundle
import mnet.core.CloudClient
import mnet.core.Denied
import mnet.core.Following
import mnet.core.Offline
import mnet.core.Phone
import mnet.core.PhoneEvent
import mnet.core.Reason
import mnet.core.Refused
import mnet.core.WeightStore
import mnet.core.writeJson
import mnet.engine.ExecuTorchProgram
import org.junit.jupiter.api.AfterAll
import org.junit.jupiter.api.Assertions.assertArrayEquals
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.BeforeAll
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir

/** A phone on the real runtime against the project's real cloud service. */
class CloudTest {
    @TempDir
    lateinit var folder: File

    @Test
    fun `weights for the uploaded samples arrive, run and outlive a restart`() {
        PhoneOnHost(folder).use { phone ->
            val before = phone.answer()
            phone.follow(server.url)
            phone.next<PhoneEvent.Enrolled>()
            assertEquals(phone.upload(listOf(3, 14, 15)), phone.next<PhoneEvent.Swapped>().version)
            val first = phone.answer()
            assertFalse(before.contentEquals(first))
            assertEquals(phone.upload(listOf(200, 201, 202)), phone.next<PhoneEvent.Swapped>().version)
            assertFalse(first.contentEquals(phone.answer()))
            assertEquals(2, phone.version)
        }
        val last = PhoneOnHost(folder).use { phone ->
            assertEquals(2, phone.version)
            phone.answer()
        }
        PhoneOnHost(folder).use { assertArrayEquals(last, it.answer()) }
    }

    @Test
    fun `an older release is refused, whoever brings it`() {
        PhoneOnHost(folder).use { phone ->
            phone.follow(server.url)
            phone.next<PhoneEvent.Enrolled>()
            phone.upload(listOf(1, 2, 3))
            phone.next<PhoneEvent.Swapped>()
            val old = File(folder, "current.jws").readText()
            phone.upload(listOf(4, 5, 6))
            phone.next<PhoneEvent.Swapped>()
            val answer = phone.answer()
            Replay(old).use { replay ->
                val refusal = assertThrows(Refused::class.java) { phone.phone.poll(CloudClient(replay.url), 1) }
                assertEquals(Reason.STALE_VERSION, refusal.reason)
            }
            assertEquals(2, phone.version)
            assertArrayEquals(answer, phone.answer())
        }
    }

    @Test
    fun `a reset runs the default weights until newer ones come`() {
        PhoneOnHost(folder).use { phone ->
            val static = phone.answer()
            phone.follow(server.url)
            phone.next<PhoneEvent.Enrolled>()
            phone.upload(listOf(1, 2, 3))
            phone.next<PhoneEvent.Swapped>()
            phone.phone.reset()
            assertArrayEquals(static, phone.answer())
        }
        PhoneOnHost(folder).use { phone ->
            assertEquals(0, phone.version)
            phone.follow(server.url)
            assertEquals(2, phone.upload(listOf(7, 8, 9)))
            assertEquals(2, phone.next<PhoneEvent.Swapped>().version)
        }
        PhoneOnHost(folder).use { assertEquals(2, it.version) }
    }

    @Test
    fun `a server that was killed is found again, and the phone serves meanwhile`() {
        val state = File(folder, "server").apply { mkdirs() }
        Server(state).use { own ->
            own.start()
            PhoneOnHost(File(folder, "phone")).use { phone ->
                phone.follow(own.url, own.enrolmentKey)
                phone.next<PhoneEvent.Enrolled>()
                phone.upload(listOf(3, 14, 15))
                phone.next<PhoneEvent.Swapped>()
                val answer = phone.answer()
                own.kill()
                phone.next<PhoneEvent.WentOffline>()
                assertThrows(Offline::class.java) { phone.upload(listOf(9)) }
                assertArrayEquals(answer, phone.answer())
                own.start()
                assertEquals(phone.upload(listOf(200, 201)), phone.next<PhoneEvent.Swapped>().version)
            }
        }
    }

    @Test
    fun `another enrolment key is denied`() {
        PhoneOnHost(folder).use { phone ->
            val denial = assertThrows(Denied::class.java) { phone.phone.enrol(CloudClient(server.url), "x".repeat(43)) }
            assertEquals(401, denial.status)
            assertFalse(phone.phone.enrolled)
        }
    }

    @Test
    fun `a sample that the server does not know is denied, and nothing changes`() {
        PhoneOnHost(folder).use { phone ->
            phone.phone.enrol(CloudClient(server.url), server.enrolmentKey)
            val denial = assertThrows(Denied::class.java) { phone.upload(listOf(Long.MAX_VALUE)) }
            assertEquals(422, denial.status)
            assertEquals(0, phone.version)
        }
    }

    companion object {
        private lateinit var server: Server

        @JvmStatic
        @BeforeAll
        fun start(@TempDir(cleanup = org.junit.jupiter.api.io.CleanupMode.NEVER) state: File) {
            server = Server(File(state, "server").apply { mkdirs() }).apply { start() }
        }

        @JvmStatic
        @AfterAll
        fun stop() = server.close()
    }

    /** A phone as the app builds it, with what it reported. */
    private class PhoneOnHost(state: File) : Closeable {
        private val events = LinkedBlockingQueue<PhoneEvent>()
        private val bundle = Bundle.open(Machine.bundle)
        private var following: Following? = null
        private lateinit var client: CloudClient
        val phone = Phone(bundle, ExecuTorchProgram.load(bundle), WeightStore(state), events::add)

        val version get() = phone.live.version

        fun follow(url: String, enrolmentKey: String = server.enrolmentKey) {
            client = CloudClient(url)
            following = Following(phone, client, enrolmentKey) { events.add(it) }
        }

        fun upload(samples: List<Long>): Long {
            if (!::client.isInitialized) client = CloudClient(server.url)
            return phone.upload(client, samples)
        }

        /** The model's answer to the first golden sample. */
        fun answer(): FloatArray = phone.live.run(bundle.golden.first().inputs).first().floats()

        /** The next event of that kind, past any others. */
        inline fun <reified E : PhoneEvent> next(): E {
            val deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(120)
            val seen = ArrayList<String>()
            while (true) {
                val event = poll(deadline - System.nanoTime())
                    ?: throw AssertionError("no ${E::class.simpleName} came, but $seen")
                if (event is E) return event
                seen.add(if (event is PhoneEvent.RefusedWeights) event.detail else event.javaClass.simpleName)
            }
        }

        fun poll(nanos: Long): PhoneEvent? = events.poll(nanos, TimeUnit.NANOSECONDS)

        override fun close() {
            following?.close()
            following?.join()
            phone.close()
        }
    }

    /** Somebody in between, who answers every poll with a release that he once saw. */
    private class Replay(jws: String) : Closeable {
        private val http = HttpServer.create(InetSocketAddress("127.0.0.1", 0), 0)
        val url = "http://127.0.0.1:${http.address.port}"

        init {
            val body = writeJson(mapOf("release" to jws)).toByteArray()
            http.createContext("/v1") { exchange ->
                exchange.sendResponseHeaders(200, body.size.toLong())
                exchange.responseBody.use { it.write(body) }
            }
            http.start()
        }

        override fun close() = http.stop(0)
    }
}
