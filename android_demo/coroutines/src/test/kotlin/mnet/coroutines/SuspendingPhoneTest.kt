package mnet.coroutines

import java.io.File
import java.io.IOException
import java.net.URL
import java.util.concurrent.CountDownLatch
import kotlinx.coroutines.CoroutineStart
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.runBlocking
import mnet.core.Bundle
import mnet.core.HttpAnswer
import mnet.core.HttpRequest
import mnet.core.Offline
import mnet.core.Phone
import mnet.core.PhoneEvent
import mnet.core.Program
import mnet.core.Run
import mnet.core.Tensor
import mnet.core.Transport
import mnet.core.WeightStore
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir

class SuspendingPhoneTest {
    @TempDir
    lateinit var folder: File

    @Test
    fun `a transport of the app gets what is sent, and what it throws is offline`() {
        val sent = mutableListOf<HttpRequest>()
        val transport = Transport { request ->
            sent += request
            throw IllegalStateException("no radio")
        }
        phone {}.use { phone ->
            val suspending = SuspendingPhone(phone, "https://example.org", transport)
            val offline = assertThrows(Offline::class.java) { runBlocking { suspending.enrol("key") } }
            assertTrue("no radio" in offline.message.orEmpty())
        }
        val request = sent.single()
        assertEquals(listOf("POST", URL("https://example.org/v1/devices")), listOf(request.method, request.url))
        assertEquals("Bearer key", request.headers["Authorization"])
        assertTrue("\"bundle\"" in String(request.body!!))
    }

    @Test
    fun `cancellation breaks off a call that waits for its answer`() {
        val waiting = CountDownLatch(1)
        val cancelled = CountDownLatch(1)
        val transport = Transport { request ->
            request.onCancel { cancelled.countDown() }
            waiting.countDown()
            cancelled.await()
            throw IOException("cancelled")
        }
        phone {}.use { phone ->
            runBlocking(Dispatchers.Default) {
                val call = async { SuspendingPhone(phone, "https://example.org", transport).enrol("key") }
                waiting.await()
                call.cancelAndJoin()
                assertTrue(call.isCancelled)
            }
        }
        assertEquals(0, cancelled.count)
    }

    @Test
    fun `events come as a flow`() {
        val events = PhoneEvents()
        val answers = Transport {
            object : HttpAnswer() {
                override val status = 200
                override val body get() = ENROLLED.byteInputStream()
                override fun header(name: String): String? = null
                override fun close() = Unit
            }
        }
        phone(events).use { phone ->
            runBlocking {
                val first = async(start = CoroutineStart.UNDISPATCHED) { events.flow.first() }
                SuspendingPhone(phone, "https://example.org", answers).enrol("key")
                assertEquals("d", (first.await() as PhoneEvent.Enrolled).device)
            }
            assertTrue(phone.enrolled)
        }
    }

    /** A phone whose runtime gives the golden outputs. */
    private fun phone(report: (PhoneEvent) -> Unit): Phone {
        val bundle = Bundle.open(File(System.getProperty("mnet.vectors"), "exported/ranker"))
        val program = object : Program {
            override fun bind(parameters: Map<String, Tensor>) = Run { inputs -> bundle.golden.first { it.inputs === inputs }.expected }
            override fun close() = Unit
        }
        return Phone(bundle, program, WeightStore(File(folder, "state")), report)
    }

    private companion object {
        // A point of the curve: its generator.
        const val KEY = """{"kty":"EC","crv":"P-256","kid":"k",
            "x":"axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY","y":"T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU"}"""
        const val ENROLLED = """{"device":"d","token":"t","keys":{"keys":[$KEY]},"number":0}"""
    }
}
