package mnet.hosttest

import java.io.File
import java.util.concurrent.LinkedBlockingQueue
import java.util.concurrent.TimeUnit
import mnet.app.recommender.Recommender
import mnet.app.recommender.Screen
import mnet.app.recommender.Status
import mnet.core.Bundle
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertNotNull
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir

/** The app without its screens: what a user does, and what is then shown. */
class RecommenderTest {
    @TempDir
    lateinit var folder: File

    private val screens = LinkedBlockingQueue<Screen>()
    private val titles = List(Machine.number("items")) { "Film ${it + 1}" }

    private fun open(): Recommender {
        val bundle = Bundle.open(Machine.bundle)
        screens.clear()
        return Recommender(bundle, Machine.program(bundle), File(folder, "state").apply { mkdirs() }, titles) {
            screens.add(it)
        }
    }

    private fun await(what: String, wanted: (Screen) -> Boolean): Screen {
        val deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(120)
        while (true) {
            val screen = screens.poll(deadline - System.nanoTime(), TimeUnit.NANOSECONDS)
                ?: throw AssertionError("never shown: $what")
            if (wanted(screen)) return screen
        }
    }

    @Test
    fun `alone, it ranks by what was chosen, and remembers`() {
        val chosen = open().use { recommender ->
            recommender.refresh()
            assertTrue(await("an empty start") { it.recent.isEmpty() }.ranked.isNotEmpty())
            recommender.act(7)
            recommender.act(9)
            await("two choices") { it.recent == listOf("Film 9", "Film 7") }
        }
        assertEquals(Status.Alone, chosen.status)
        assertEquals(20, chosen.ranked.size)
        assertFalse(chosen.ranked.any { it.item == 7 || it.item == 9 })
        assertTrue(chosen.ranked.all { it.moved == 0 })
        assertTrue(chosen.latencies.isNotEmpty())
        val again = open().use { recommender ->
            recommender.refresh()
            await("the choices of before") { it.recent.isNotEmpty() }
        }
        assertEquals(chosen.recent, again.recent)
        assertEquals(chosen.ranked.map { it.item }, again.ranked.map { it.item })
    }

    @Test
    fun `choices bring weights of one's own, which move the ranking, and a reset moves it back`() {
        Server(File(folder, "server").apply { mkdirs() }).use { server ->
            server.start()
            open().use { recommender ->
                recommender.follow(server.url, server.enrolmentKey)
                await("a connection") { it.status == Status.Waiting }
                for (item in listOf(3, 5, 8)) recommender.act(item)
                val personal = await("weights of one's own") { it.weights.version >= 1L }
                assertTrue(personal.weights.swapNanos!! > 0)
                assertTrue(personal.ranked.any { it.moved != 0 })
                recommender.reset()
                val static = await("the weights of everybody") { it.weights.version == 0L }
                assertFalse(static.ranked.map { it.item } == personal.ranked.map { it.item })
                server.kill()
                await("that the server is gone") { it.status == Status.Offline }
                recommender.act(11)
                assertEquals("Film 11", await("a choice without a server") { it.recent.size == 4 }.recent.first())
            }
        }
    }

    @Test
    fun `the bundle's policy asks when the user has shifted, and the button at any time`() {
        assertNotNull(Bundle.open(Machine.bundle).policy)
        Server(File(folder, "server").apply { mkdirs() }).use { server ->
            server.start()
            open().use { recommender ->
                recommender.follow(server.url, server.enrolmentKey)
                await("a connection") { it.status == Status.Waiting }
                recommender.act(3)
                await("weights for the first choice") { it.weights.version == 1L && it.status == Status.Waiting }
                recommender.act(3)
                await("no shift, no request") { it.status == Status.Settled }
                recommender.ask()
                await("weights all the same") { it.weights.version == 2L }
            }
            open().use { recommender ->
                recommender.follow(server.url, server.enrolmentKey)
                await("a connection") { it.status == Status.Waiting }
                recommender.act(3)
                await("no shift since the start before") { it.status == Status.Settled }
            }
        }
    }
}
