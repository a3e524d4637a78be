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
import mnet.core.Roots
import mnet.core.Samples
import mnet.core.Updater
import mnet.core.WeightStore
import mnet.core.distance
import mnet.core.parseJson
import mnet.core.parseJsonObject
import mnet.core.probe
import mnet.core.string
import mnet.core.writeJson
import org.junit.jupiter.api.AfterEach
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertThrows
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
        val lives = Machine.number("conversations") / LIFE
        val residentMb = ArrayList<Long>()
        val heapMb = ArrayList<Long>()
        repeat(lives) { life ->
            phone(life / 2).use { liveThrough(it, rooted(life / 2)) }
            System.gc()
            heapMb.add(Runtime.getRuntime().run { totalMemory() - freeMemory() } / MB)
            residentMb.add(residentMb())
        }
        val figures = mapOf(
            "conversations" to lives * LIFE, "slowest_ms" to slowestMs, "outcomes" to outcomes,
            "resident_mb" to listOf(residentMb[lives / 5], residentMb.last()),
            "heap_mb" to listOf(heapMb[lives / 5], heapMb.last()),
        )
        File(Machine.text("report")).writeText(writeJson(figures))
        assertTrue(slowestMs < 31_000, "$slowestMs ms")
        assertTrue(heapMb.last() - heapMb[lives / 5] < HEAP_GROWTH_MB, "$heapMb")
        assertTrue(residentMb.last() - residentMb[lives / 5] < RESIDENT_GROWTH_MB, "$residentMb")
        URL("$url/honest").readText()
        for (number in 0..(lives - 1) / 2) phone(number).use { findAgain(it, rooted(number)) }
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

    @Test
    fun `weights that the app loaded hide no release, which answers once it came`() {
        URL("$url/honest").readText()
        val newest = phone(0).use { findAgain(it, rooted(0)); checkNotNull(it.running) }
        val pack = WeightStore(File(folder, "phone-0")).use { it.pack(newest.release) }
        phone(2).use { phone ->
            assertThrows(NoSuchElementException::class.java) { phone.use("mine") }
            phone.load("mine", pack)
            assertEquals(0L, phone.live.version)
            phone.use("mine")
            assertEquals("mine" to VERSIONS, phone.live.name to phone.live.version)
            findAgain(phone, rooted(2))
            assertEquals(VERSIONS, phone.running?.release?.version)
            assertEquals(null, phone.live.name)
            phone.use("mine")
            phone.unload("mine")
            assertEquals("mine", phone.live.name, "it answers until something else does")
            phone.use(null)
            assertEquals(null to VERSIONS, phone.live.name to phone.live.version)
        }
        phone(2).use { assertEquals(null to VERSIONS, it.live.name to it.live.version) }
    }

    /** Every second phone comes with root keys. */
    private fun rooted(number: Int) = number % 2 == 1

    private fun phone(number: Int): Phone {
        val roots = if (rooted(number)) Roots.parse(URL("$url/roots").readBytes()) else null
        return Phone(bundle, Machine.program(bundle), WeightStore(File(folder, "phone-$number")), {}, roots = roots)
    }

    private fun liveThrough(phone: Phone, rooted: Boolean) = repeat(LIFE) {
        val started = System.nanoTime()
        val before = phone.live.version
        val outcome = CloudClient(url).use { attempt(phone, it, rooted) }
        outcomes[outcome] = (outcomes[outcome] ?: 0) + 1
        slowestMs = maxOf(slowestMs, (System.nanoTime() - started) / 1_000_000)
        assertTrue(phone.live.version >= before)
        assertRight(phone)
    }

    /** What an honest server makes of a phone, without a person: enrol, and then an upload between two polls. */
    private fun findAgain(phone: Phone, rooted: Boolean) {
        CloudClient(url).use { client -> repeat(4) { if ((phone.running?.release?.version ?: 0) < VERSIONS) attempt(phone, client, rooted) } }
        assertEquals(VERSIONS, phone.live.version)
        assertRight(phone)
    }

    /** What comes of it may only be what a caller knows. */
    private fun attempt(phone: Phone, client: CloudClient, rooted: Boolean): String = try {
        turn++
        if (!phone.enrolled) {
            phone.enrol(client, if (rooted) "rooted" else "key")
            "enrolled"
        } else if (turn % 7 == 0) {
            phone.upload(client, Samples.Ids(listOf(1, 2, 3)))
            "uploaded"
        } else {
            if (phone.poll(client, waitSeconds = 0)) "taken" else "nothing"
        }
    } catch (error: Offline) {
        "offline"
    } catch (denial: Denied) {
        "denied"
    } catch (refusal: Refused) {
        "refused"
    }

    private fun residentMb(): Long =
        File("/proc/self/status").readLines().first { it.startsWith("VmRSS") }.filter { it.isDigit() }.toLong() / 1024

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
    private val outcomes = HashMap<String, Int>()
    private var slowestMs = 0L
    private var turn = 0

    private companion object {
        const val VERSIONS = 12L

        /** Conversations of one life of a phone; its second life starts on what the first one kept. */
        const val LIFE = 25
        const val MB = 1024L * 1024

        /** By which the heap may be larger at the end than after a fifth of the conversations, and all of the process. */
        const val HEAP_GROWTH_MB = 16
        const val RESIDENT_GROWTH_MB = 128
    }
}
