package mnet.hosttest

import java.io.Closeable
import java.io.File
import java.util.concurrent.LinkedBlockingQueue
import java.util.concurrent.TimeUnit
import mnet.core.Bundle
import mnet.core.Busy
import mnet.core.CloudClient
import mnet.core.Denied
import mnet.core.Updater
import mnet.core.Offline
import mnet.core.Phone
import mnet.core.PhoneEvent
import mnet.core.Reason
import mnet.core.Refused
import mnet.core.Samples
import mnet.core.WeightStore
import mnet.core.writeJson
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
            phone.follow()
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
            phone.follow()
            phone.next<PhoneEvent.Enrolled>()
            phone.upload(listOf(1, 2, 3))
            phone.next<PhoneEvent.Swapped>()
            val old = File(folder, "current.jws").readText()
            phone.upload(listOf(4, 5, 6))
            phone.next<PhoneEvent.Swapped>()
            val answer = phone.answer()
            val release = Answer(200, writeJson(mapOf("release" to old)).toByteArray())
            Between(server.url) { path, answer -> if (path.endsWith("/release")) release else answer }.use { replay ->
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
            phone.follow()
            phone.next<PhoneEvent.Enrolled>()
            phone.upload(listOf(1, 2, 3))
            phone.next<PhoneEvent.Swapped>()
            phone.phone.reset()
            assertArrayEquals(static, phone.answer())
        }
        PhoneOnHost(folder).use { phone ->
            assertEquals(0, phone.version)
            phone.follow()
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
            PhoneOnHost(File(folder, "phone"), own).use { phone ->
                phone.follow()
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
    fun `the server hears what became of each release`() {
        PhoneOnHost(folder).use { phone ->
            val device = phone.enrol()
            phone.upload(listOf(1, 2, 3))
            val garbled = { path: String, answer: Answer ->
                if ("/packs/" in path) Answer(answer.status, answer.body.reversedArray()) else answer
            }
            Between(server.url, garbled).use { between ->
                val refusal = assertThrows(Refused::class.java) { phone.phone.poll(CloudClient(between.url), 25) }
                assertEquals(Reason.WRONG_HASH, refusal.reason)
            }
            assertEquals(listOf("wrong_hash"), server.outcomes(device))
            assertTrue(phone.poll())
            assertEquals(listOf("taken"), server.outcomes(device))
        }
    }

    @Test
    fun `new keys are learnt where the old one vouches for them, and what it signed still starts`() {
        val state = File(folder, "phone")
        Server(File(folder, "server").apply { mkdirs() }).use { own ->
            own.start()
            PhoneOnHost(state, own).use { phone ->
                phone.enrol()
                phone.upload(listOf(1, 2, 3))
                assertTrue(phone.poll())
                own.kill()
                own.rotateKeys()
                own.start()
                phone.upload(listOf(4, 5, 6))
                assertTrue(phone.poll())
                assertEquals(2, phone.version)
            }
        }
        PhoneOnHost(state).use { assertEquals(2, it.version) }
        assertTrue(File(state, "current.jws").delete())
        PhoneOnHost(state).use { assertEquals(1, it.version) }
    }

    @Test
    fun `after an update of its app a phone is the same one, and gets weights for the new bundle`() {
        val device = PhoneOnHost(folder).use { phone ->
            phone.enrol().also {
                phone.upload(listOf(1, 2, 3))
                assertTrue(phone.poll())
            }
        }
        val updated = Machine.folder("updated")
        PhoneOnHost(folder, bundleFolder = updated).use { phone ->
            assertEquals(0, phone.version)
            assertFalse(phone.phone.enrolled)
            assertEquals(device, phone.enrol())
            assertTrue(phone.poll())
        }
        PhoneOnHost(folder, bundleFolder = updated).use { assertEquals(1, it.version) }
    }

    @Test
    fun `a server that asks for patience is left alone`() {
        Server(File(folder, "server").apply { mkdirs() }, "--uploads", "1").use { own ->
            own.start()
            PhoneOnHost(File(folder, "phone"), own).use { phone ->
                phone.enrol()
                phone.upload(listOf(1, 2, 3))
                assertEquals(60_000, assertThrows(Busy::class.java) { phone.upload(listOf(4)) }.retryAfterMillis)
                own.kill()
                // It is not even asked: it would be offline.
                assertTrue(assertThrows(Busy::class.java) { phone.upload(listOf(5)) }.retryAfterMillis in 1..60_000)
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
            phone.enrol()
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

    /** A phone of [of]'s fleet as the app builds it, with what it reported. */
    private class PhoneOnHost(
        state: File, private val of: Server = server, bundleFolder: File = Machine.bundle,
    ) : Closeable {
        private val events = LinkedBlockingQueue<PhoneEvent>()
        private val bundle = Bundle.open(bundleFolder)
        private val client = CloudClient(of.url)
        private var following: Updater? = null
        val phone = Phone(bundle, Machine.program(bundle), WeightStore(state), events::add)

        val version get() = phone.live.version

        fun follow() {
            following = Updater(phone, client, of.enrolmentKey) { events.add(it) }
        }

        /** Returns the device's id. */
        fun enrol(): String {
            phone.enrol(client, of.enrolmentKey)
            return next<PhoneEvent.Enrolled>().device
        }

        fun upload(samples: List<Long>): Long = phone.upload(client, Samples.Ids(samples))

        fun poll(): Boolean = phone.poll(client, waitSeconds = 25)

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
}
