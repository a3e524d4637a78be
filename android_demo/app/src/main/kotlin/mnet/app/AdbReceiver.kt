package mnet.app

import android.app.Activity
import android.content.BroadcastReceiver
import android.content.Context
import android.content.Intent
import android.content.pm.ApplicationInfo
import java.io.File
import java.io.IOException
import mnet.core.BundleException

/**
 * Takes what `mnet push --adb` left in the app's inbox, `bundle/` or `pack.safetensors`, and answers what became of it. In
 * debuggable builds only, because nobody signed it: a pack passes every check of a pack, but not that of a release.
 */
class AdbReceiver : BroadcastReceiver() {
    override fun onReceive(context: Context, intent: Intent) {
        if (context.applicationInfo.flags and ApplicationInfo.FLAG_DEBUGGABLE == 0) return
        val demo = context.applicationContext as DemoApplication
        val inbox = File(context.filesDir, "inbox")
        val answer = Answer(goAsync(), inbox)
        val bundle = File(inbox, "bundle")
        val pack = File(inbox, "pack.safetensors")
        when {
            bundle.isDirectory -> demo.reopen { answer.finish(take(context, bundle), "bundle taken") }
            // The app may have been started for this: the pack waits until the model is loaded.
            pack.isFile -> demo.onceOpened { recommender ->
                if (recommender == null) answer.finish("the app has no bundle that it can serve", "")
                else recommender.tryPack(pack.readBytes()) { refusal -> answer.finish(refusal, "swapped in") }
            }
            else -> answer.finish("the inbox is empty", "")
        }
    }

    /** Null, or why the bundle is refused. */
    private fun take(context: Context, bundle: File): String? = try {
        InstalledBundle(context).replaceBy(bundle)
        null
    } catch (error: BundleException) {
        error.message.orEmpty()
    } catch (error: IOException) {
        "not kept: ${error.message}"
    }

    /** What `am broadcast` prints: RESULT_OK and what was done, or [REFUSED] and why not. */
    private class Answer(private val pending: PendingResult, private val inbox: File) {
        fun finish(refusal: String?, done: String) {
            inbox.deleteRecursively()
            if (refusal == null) pending.setResult(Activity.RESULT_OK, done, null) else pending.setResult(REFUSED, refusal, null)
            pending.finish()
        }
    }

    private companion object {
        const val REFUSED = 1
    }
}
