package mnet.hosttest

import android.app.Activity
import android.content.Context
import android.os.Looper
import android.view.View
import android.view.ViewGroup
import android.widget.TextView
import java.io.File
import java.io.RandomAccessFile
import java.util.concurrent.TimeUnit
import mnet.app.DemoApplication
import mnet.app.InstalledBundle
import mnet.app.MainActivity
import mnet.app.R
import mnet.app.SettingsActivity
import mnet.core.Bundle
import mnet.core.Manifest
import mnet.views.Desk
import mnet.views.Drawing
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir

/** The app as its user meets it: the real application, activities and layouts on the real runtime and a real server. */
class ScreensTest {
    @TempDir
    lateinit var folder: File

    @Test
    fun `from the first start to weights of one's own, and on without a server`() {
        put(Machine.folder("assets"), night = false)
        val demo = DemoApplication().apply { onCreate() }
        val main = MainActivity().apply { open(demo) }
        await("the first start") { main.says(R.id.status, R.string.status_alone) }
        assertEquals(main.getString(R.string.weights_static), main.text(R.id.weights))
        assertEquals(View.VISIBLE, main.findViewById(R.id.nothing_yet).visibility)
        draw(main, "1-first-start")
        Server(File(folder, "server").apply { mkdirs() }).use { server ->
            server.start()
            main.hide()
            connect(demo, server)
            main.show()
            await("a connection") { main.says(R.id.status, R.string.status_waiting) }
            assertEquals("", demo.settings.getString(DemoApplication.ENROLMENT_KEY, ""))
            choose(main, 4)
            await("weights of one's own") { main.text(R.id.weights) != main.getString(R.string.weights_static) }
            val moved = rows(main).map { it.findViewById(R.id.moved) as TextView }
                .filter { it.visibility == View.VISIBLE }
            assertTrue(moved.isNotEmpty())
            assertTrue(moved.all { it.text.startsWith("▲ ") || it.text.startsWith("▼ ") })
            for (rank in listOf(2, 0)) choose(main, rank)
            val restful = listOf(R.string.status_waiting, R.string.status_settled)
            await("rest") { restful.any { main.says(R.id.status, it) } }
            assertTrue(main.text(R.id.why).startsWith("New weights after "))
            draw(main, "3-own-weights")
            val own = titles(main)
            main.findViewById(R.id.everybody).performClick()
            await("everybody's list") { main.says(R.id.why, R.string.why_everybody) }
            assertTrue(titles(main) != own)
            draw(main, "4-everybodys-list")
            main.findViewById(R.id.yours).performClick()
            await("one's own list") { titles(main) == own }
            server.kill()
            await("that the server is gone") { main.says(R.id.status, R.string.status_offline) }
            choose(main, 0)
            main.findViewById(R.id.reset).performClick()
            await("the weights of everybody") { main.text(R.id.weights) == main.getString(R.string.weights_static) }
        }
        put(Machine.folder("assets"), night = true)
        val again = MainActivity().apply { open(demo) }
        assertEquals(4, (again.findViewById(R.id.recent) as ViewGroup).childCount)
        assertEquals(View.GONE, again.findViewById(R.id.choice).visibility)
        draw(again, "5-without-a-server-at-night")
        again.hide()
    }

    @Test
    fun `an app without a bundle says what to do`() {
        put(File(folder, "empty"), night = false)
        val main = MainActivity().apply { open(DemoApplication().apply { onCreate() }) }
        await("what to do") { main.says(R.id.status, R.string.status_no_bundle) }
        main.findViewById(R.id.ask).performClick()
        assertTrue(rows(main).isEmpty())
    }

    @Test
    fun `a bundle that a power cut tore is unpacked again`() {
        put(Machine.folder("assets"), night = false)
        val main = MainActivity()
        val first = DemoApplication().apply { onCreate() }
        main.open(first)
        await("the first start") { main.says(R.id.status, R.string.status_alone) }
        first.recommender!!.close() // as the end of a process would, it gives up the phone's folder
        val unpacked = File(folder, "files/bundles").listFiles()!!.single()
        RandomAccessFile(File(unpacked, Bundle.open(unpacked).manifest.program), "rw").use { it.setLength(it.length() / 2) }
        val again = MainActivity()
        again.open(DemoApplication().apply { onCreate() })
        await("a start after it") { again.says(R.id.status, R.string.status_alone) }
        Bundle.open(unpacked)
    }

    @Test
    fun `a pushed bundle serves, and where it is torn the one of the assets does`() {
        put(Machine.folder("assets"), night = false)
        val context = Context()
        InstalledBundle(context).replaceBy(Machine.folder("updated"))
        InstalledBundle(context).replaceBy(Machine.folder("updated"))
        assertEquals(Bundle.open(Machine.folder("updated")).id, InstalledBundle(context).open()!!.id)
        // The power went between the two renames of `replaceBy`.
        val pushed = File(folder, "files/bundles/pushed")
        assertTrue(pushed.renameTo(File(folder, "files/bundles/pushed.before")))
        assertEquals(Bundle.open(Machine.folder("updated")).id, InstalledBundle(context).open()!!.id)
        File(pushed, Manifest.FILE).writeText("{")
        assertEquals(Machine.folder("assets").resolve("bundle").let(Bundle::open).id, InstalledBundle(context).open()!!.id)
    }

    @Test
    fun `opened again before it was open, one recommender holds the state`() {
        put(Machine.folder("assets"), night = false)
        val before = models()
        val demo = DemoApplication().apply { onCreate() }
        repeat(3) { demo.reopen {} }
        val main = MainActivity().apply { open(demo) }
        await("a start") { main.says(R.id.status, R.string.status_alone) }
        assertEquals(before + 1, models())
    }

    /** Each recommender that is open has one. */
    private fun models(): Int = Thread.getAllStackTraces().keys.count { it.name == "model" }

    private fun put(assets: File, night: Boolean) =
        Desk.put(File(folder, "files"), assets, Machine.folder("resources"), R::class.java, night)

    private fun connect(demo: DemoApplication, server: Server) {
        val settings = SettingsActivity().apply { open(demo) }
        val url = settings.findViewById(R.id.server) as TextView
        url.setText("not a URL")
        settings.findViewById(R.id.save).performClick()
        url.setText("http://127.0.0.1:99999")
        settings.findViewById(R.id.save).performClick()
        url.setText(server.url)
        val key = settings.findViewById(R.id.enrolment_key) as TextView
        key.setText("two words")
        settings.findViewById(R.id.save).performClick()
        assertEquals("", demo.settings.getString(DemoApplication.SERVER, ""))
        key.setText(server.enrolmentKey)
        draw(settings, "2-settings")
        settings.findViewById(R.id.save).performClick()
        assertNull(demo.recommender) // it opens again
    }

    private fun choose(main: Activity, rank: Int) {
        val chosen = (main.findViewById(R.id.recent) as ViewGroup).childCount
        rows(main)[rank].performClick()
        await("the choice") { (main.findViewById(R.id.recent) as ViewGroup).childCount > chosen }
    }

    private fun rows(main: Activity): List<View> = (main.findViewById(R.id.ranked) as ViewGroup).children

    private fun titles(main: Activity): List<String> =
        rows(main).map { (it.findViewById(R.id.title) as TextView).text.toString() }

    private fun Activity.text(id: Int): String = (findViewById(id) as TextView).text.toString()

    private fun Activity.says(id: Int, string: Int): Boolean = text(id) == getString(string)

    /** Do the main thread's work until something shows. */
    private fun await(what: String, shown: () -> Boolean) {
        val deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(120)
        while (!shown()) {
            if (!Looper.runOne((deadline - System.nanoTime()) / 1_000_000)) throw AssertionError("never shown: $what")
        }
    }

    private fun draw(screen: Activity, name: String) =
        Drawing.write(screen.content(), File(Machine.folder("drawings"), "$name.png"))
}
