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
    private val folder by lazy { File(filesDir, "state").apply { mkdirs() } }
    private var listener: ((Shown) -> Unit)? = null
    private var inFront = false

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

    /** Another server knows nothing of this phone: enrol there anew. */
    fun useServer(server: String, enrolmentKey: String) {
        val moved = server != settings.getString(SERVER, "")
        settings.edit().putString(SERVER, server).putString(ENROLMENT_KEY, enrolmentKey).apply()
        reopen { if (moved) WeightStore(File(folder, "phone")).clear() }
    }

    /** Close the recommender, do [change] while nothing runs, and open it again. */
    fun reopen(change: () -> Unit) {
        val old = recommender
        recommender = null
        open {
            old?.close()
            change()
        }
    }

    private fun open(change: () -> Unit = {}) {
        shown = Shown.Starting
        opener.execute {
            try {
                change()
                val bundle = installed.open()
                if (bundle == null) main.post { shown = Shown.NoBundle } else load(bundle)
            } catch (error: BundleException) {
                main.post { shown = Shown.Broken(error.message.orEmpty()) }
            } catch (error: IOException) {
                main.post { shown = Shown.Broken(error.message.orEmpty()) }
            }
        }
    }

    private fun load(bundle: Bundle) {
        val program = ExecuTorchProgram.load(bundle, File(folder, "versions"))
        val opened = Recommender(bundle, program, folder, installed.titles(bundle)) { screen ->
            main.post { shown = Shown.Ready(screen) }
        }
        main.post {
            recommender = opened
            opened.refresh()
            if (inFront) follow()
        }
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
