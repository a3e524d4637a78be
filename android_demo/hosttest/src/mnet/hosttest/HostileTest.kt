package mnet.hosttest

import java.io.File
import java.net.URL
import java.util.concurrent.ConcurrentLinkedQueue
import kotlin.concurrent.thread
import mnet.core.Bundle
import mnet.core.CloudClient
import mnet.core.Denied
import mnet.core.Offline
import mnet.core.Phone
import mnet.core.PhoneEvent
import mnet.core.Refused
import mnet.core.Samples
import mnet.core.Updater
import mnet.core.WeightStore
import mnet.core.distance
import mnet.core.parseJson
import mnet.core.parseJsonObject
import mnet.core.probe
import mnet.core.string
import org.junit.jupiter.api.AfterEach
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.BeforeEach
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir

/** A phone and `tests/vectors/hostile_server.py`, a process that does whatever a seeded draw says until it is asked to be honest. */
class HostileTest {
    @TempDir
    lateinit var folder: File

    private val bundle = Bundle.open(File(Machine.folder("vectors"), "exported/ranker"))
    private lateinit var process: Process
    private lateinit var url: String

    @BeforeEach
    fun start() {
        process = ProcessBuilder(Machine.text("python"), "-m", "tests.vectors.hostile_server", "23")
            .directory(Machine.folder("repository")).redirectError(File(folder, "server.log")).start()
        val line = process.inputStream.bufferedReader().readLine()
            ?: throw AssertionError(File(folder, "server.log").readText().takeLast(2_000))
        url = parseJsonObject(line.toByteArray()).string("url")
    }

    @AfterEach
    fun stop() {
        process.destroyForcibly().waitFor()
    }

    @Test
    fun `it neither ends nor holds nor misleads a phone, and an honest one finds it again`() {
        val state = File(folder, "phone")
        var slowestMs = 0L
        var phone = phone(state)
        repeat(Machine.number("conversations")) { turn ->
            if (turn % 50 == 49) {
                phone.close()
                phone = phone(state)
            }
            val started = System.nanoTime()
            val before = phone.live.version
            CloudClient(url).use { attempt(phone, it, turn) }
            slowestMs = maxOf(slowestMs, (System.nanoTime() - started) / 1_000_000)
            assertTrue(phone.live.version >= before)
            assertRight(phone)
        }
        println("the slowest of ${Machine.number("conversations")} conversations took $slowestMs ms")
        assertTrue(slowestMs < 31_000, "$slowestMs ms")
        URL("$url/honest").readText()
        CloudClient(url).use { client -> while (phone.live.version < VERSIONS) attempt(phone, client, 1) }
        assertRight(phone)
        phone.close()
    }

    @Test
    fun `a poll next to an updater reports nothing wrong, and a reset waits for no network`() {
        URL("$url/honest").readText()
        val events = ConcurrentLinkedQueue<PhoneEvent>()
        val phone = Phone(bundle, Machine.program(bundle), WeightStore(File(folder, "phone")), events::add)
        CloudClient(url).use { phone.enrol(it, "key") }
        val polls = List(4) {
            thread {
                CloudClient(url).use { client ->
                    repeat(10) {
                        try {
                            phone.poll(client, waitSeconds = 0)
                        } catch (refusal: Refused) {
                            events.add(PhoneEvent.RefusedWeights(refusal.reason, refusal.detail))
                        }
                    }
                }
            }
        }
        Updater(phone, CloudClient(url), "key") { events.add(it) }.use { polls.forEach { it.join() } }
        assertEquals(1, events.count { it is PhoneEvent.Swapped })
        assertEquals(emptyList<String>(), events.filterIsInstance<PhoneEvent.RefusedWeights>().map { it.detail })
        assertEquals(VERSIONS, phone.live.version)
        phone.close()
    }

    private fun phone(state: File) = Phone(bundle, Machine.program(bundle), WeightStore(state), {})

    /** What comes of it may only be what a caller knows. */
    private fun attempt(phone: Phone, client: CloudClient, turn: Int) {
        try {
            if (!phone.enrolled) phone.enrol(client, "key")
            else if (turn % 7 == 0) phone.upload(client, Samples.Ids(listOf(1, 2, 3)))
            else phone.poll(client, waitSeconds = 0)
        } catch (error: Offline) {
            return
        } catch (denial: Denied) {
            return
        } catch (refusal: Refused) {
            return
        }
    }

    /** The weights that answer are those of the version that they are said to be. */
    private fun assertRight(phone: Phone) {
        val live = phone.live
        val scales = bundle.manifest.outputs.map { it.scale }
        val found = probe(live.run(bundle.golden.first().inputs), scales)
        val expected = if (live.version == 0L) probe(bundle.golden.first().expected, scales) else probes.getOrPut(live.version) {
            (parseJson(URL("$url/probe/${live.version}").readText()) as List<*>).map { (it as Number).toDouble() }.toDoubleArray()
        }
        assertTrue(distance(found, expected) <= bundle.manifest.golden.tolerance)
    }

    private val probes = HashMap<Long, DoubleArray>()

    private companion object {
        const val VERSIONS = 12L
    }
}
