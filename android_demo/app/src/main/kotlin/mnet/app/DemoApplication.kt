package mnet.app

import android.app.Application
import android.content.Context
import android.content.SharedPreferences
import android.os.Handler
import android.os.Looper
import java.io.File
import java.io.IOException
import java.util.concurrent.Executors
import mnet.app.recommender.Recommender
import mnet.app.recommender.Screen
import mnet.core.Bundle
import mnet.core.BundleException
import mnet.core.WeightStore
import mnet.engine.ExecuTorchProgram

/** What there is to show: nothing yet, a reason why there is nothing, or the recommender's screen. */
sealed class Shown {
    object Starting : Shown()
    object NoBundle : Shown()
    class Broken(val detail: String) : Shown()
    class Ready(val screen: Screen) : Shown()
}

/** Holds the recommender, so that it outlives every turn of the phone. All methods are for the main thread. */
class DemoApplication : Application() {
    private val main = Handler(Looper.getMainLooper())
    private val opener = Executors.newSingleThreadExecutor()
    private val installed by lazy { InstalledBundle(this) }
    // The token and what was chosen are this phone's alone: neither backed up nor sent to the owner's next phone.
    private val folder by lazy { File(noBackupFilesDir, "state").apply { mkdirs() } }
    private var listener: ((Shown) -> Unit)? = null
    private var inFront = false

    /** Counts the times of opening: what an earlier one still posts is out of date. */
    private var opening = 0

    /** The one that is open: of the thread `opener` alone, so that no two ever share a state folder. */
    private var opened: Recommender? = null

    /** What the screens talk to. */
    var recommender: Recommender? = null
        private set

    var shown: Shown = Shown.Starting
        private set(value) {
            field = value
            listener?.invoke(value)
        }

    val settings: SharedPreferences get() = getSharedPreferences("settings", Context.MODE_PRIVATE)

    override fun onCreate() {
        super.onCreate()
        open()
    }

    /** Hear of every change as long as a screen is there; null ends it. */
    fun observe(listener: ((Shown) -> Unit)?) {
        this.listener = listener
        listener?.invoke(shown)
    }

    /** The network is used only while a screen is in front. */
    fun setInFront(value: Boolean) {
        inFront = value
        if (value) follow() else recommender?.leave()
    }

    /** Another server knows nothing of this phone, and a key is typed in to enrol with: either way, enrol again. */
    fun useServer(server: String, enrolmentKey: String) {
        val moved = server != settings.getString(SERVER, "")
        val newKey = enrolmentKey.isNotEmpty() && enrolmentKey != settings.getString(ENROLMENT_KEY, "")
        settings.edit().putString(SERVER, server).putString(ENROLMENT_KEY, enrolmentKey).apply()
        reopen { if (moved || newKey) WeightStore(File(folder, "phone")).use { it.clear() } }
    }

    /** Close the recommender, do [change] while nothing runs, and open it again. */
    fun reopen(change: () -> Unit) {
        recommender = null
        open(change)
    }

    /** Have [use] run, on some thread, when opening is over: with the recommender, or null where none could be opened. */
    fun onceOpened(use: (Recommender?) -> Unit) = opener.execute { use(opened) }

    private fun open(change: () -> Unit = {}) {
        shown = Shown.Starting
        val turn = ++opening
        opener.execute {
            try {
                opened?.close()
                opened = null
                change()
                val bundle = installed.open()
                if (bundle == null) post(turn) { shown = Shown.NoBundle } else load(bundle, turn)
            } catch (error: BundleException) {
                post(turn) { shown = Shown.Broken(error.message.orEmpty()) }
            } catch (error: IOException) {
                post(turn) { shown = Shown.Broken(error.message.orEmpty()) }
            }
        }
    }

    /** Do [work] on the main thread, unless the recommender was opened again meanwhile. */
    private fun post(turn: Int, work: () -> Unit) = main.post { if (turn == opening) work() }

    private fun load(bundle: Bundle, turn: Int) {
        val program = ExecuTorchProgram.load(bundle, File(folder, "versions"))
        val next = Recommender(bundle, program, folder, installed.titles(bundle)) { screen ->
            post(turn) { show(screen) }
        }
        opened = next
        post(turn) {
            recommender = next
            next.refresh()
            if (inFront) follow()
        }
    }

    private fun show(screen: Screen) {
        // It opens an account with the server, and is of no use to this phone any more.
        if (recommender?.enrolled == true) settings.edit().remove(ENROLMENT_KEY).apply()
        shown = Shown.Ready(screen)
    }

    private fun follow() {
        val server = settings.getString(SERVER, "").orEmpty()
        if (server.isNotEmpty()) recommender?.follow(server, settings.getString(ENROLMENT_KEY, "").orEmpty())
    }

    companion object {
        const val SERVER = "server"
        const val ENROLMENT_KEY = "enrolment_key"
    }
}
