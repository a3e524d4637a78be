package mnet.app

import android.content.BroadcastReceiver
import android.content.Context
import android.content.Intent
import android.content.pm.ApplicationInfo
import android.util.Log
import java.io.File
import java.io.IOException
import mnet.core.BundleException

/**
 * Takes what `mnet push --adb` left in the app's inbox: `bundle/`, or `pack.safetensors`. In debuggable builds only,
 * because nobody signed it: a pack passes every check of a pack, but not that of a release.
 */
class AdbReceiver : BroadcastReceiver() {
    override fun onReceive(context: Context, intent: Intent) {
        if (context.applicationInfo.flags and ApplicationInfo.FLAG_DEBUGGABLE == 0) return
        val demo = context.applicationContext as DemoApplication
        val inbox = context.getExternalFilesDir("inbox") ?: return
        val bundle = File(inbox, "bundle")
        val pack = File(inbox, "pack.safetensors")
        when {
            bundle.isDirectory -> demo.reopen { take(context, bundle) }
            pack.isFile -> demo.recommender?.tryPack(pack.readBytes()) { refusal -> Log.i(TAG, refusal ?: "swapped in") }
        }
        pack.delete()
    }

    private fun take(context: Context, bundle: File) {
        try {
            InstalledBundle(context).replaceBy(bundle)
            Log.i(TAG, "bundle taken")
        } catch (error: BundleException) {
            Log.w(TAG, "bundle refused: ${error.message}")
        } catch (error: IOException) {
            Log.w(TAG, "bundle not kept: ${error.message}")
        } finally {
            bundle.deleteRecursively()
        }
    }

    private companion object {
        const val TAG = "mnet"
    }
}
