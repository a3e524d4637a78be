package mnet.app

import android.content.Context
import java.io.File
import java.io.IOException
import mnet.core.Bundle
import mnet.core.BundleException
import mnet.core.JsonException
import mnet.core.Manifest
import mnet.core.list
import mnet.core.parseJsonObject

private const val ASSET_FOLDER = "bundle"
private const val CATALOGUE = "catalogue.json"

/** The bundle that this app serves: that of its assets, unless one was sent by adb since its data were cleared. */
class InstalledBundle(private val context: Context) {
    private val folder = File(context.filesDir, "bundles")
    private val pushed = File(folder, "pushed")

    /** The bundle to serve, checked byte by byte; null where the app carries none. Throws [BundleException]. */
    fun open(): Bundle? {
        if (pushed.isDirectory) return Bundle.open(pushed)
        val raw = asset("$ASSET_FOLDER/${Manifest.FILE}") ?: return null
        val manifest = Manifest.parse(raw)
        val target = File(folder, manifest.id)
        if (!target.isDirectory) unpack(raw, manifest, target)
        return Bundle.open(target)
    }

    /** Serve the bundle in [sent] from now on. Throws [BundleException] if it is none, and nothing changes. */
    fun replaceBy(sent: File) {
        Bundle.open(sent)
        val part = File(folder, "pushed.part")
        part.deleteRecursively()
        sent.copyRecursively(part)
        pushed.deleteRecursively()
        if (!part.renameTo(pushed)) throw BundleException("cannot keep the bundle in $pushed")
    }

    /** The names of the items 1..N that [bundle] ranks. */
    fun titles(bundle: Bundle): List<String> {
        val known = try {
            asset(CATALOGUE)?.let { raw -> parseJsonObject(raw).list("titles").map { it as String } }.orEmpty()
        } catch (error: JsonException) {
            emptyList()
        }
        val least = bundle.manifest.inputs.last().shape.last().toInt()
        return if (known.size >= least) known else List(least) { context.getString(R.string.item, it + 1) }
    }

    private fun unpack(raw: ByteArray, manifest: Manifest, target: File) {
        folder.deleteRecursively()
        val part = File(folder, "${manifest.id}.part")
        for (path in manifest.files.filterValues { it.role == "device" }.keys) {
            val file = File(part, path)
            file.parentFile?.mkdirs()
            file.writeBytes(asset("$ASSET_FOLDER/$path") ?: throw BundleException("the app lacks $path"))
        }
        File(part, Manifest.FILE).writeBytes(raw)
        if (!part.renameTo(target)) throw BundleException("cannot unpack the bundle to $target")
    }

    private fun asset(path: String): ByteArray? = try {
        context.assets.open(path).use { it.readBytes() }
    } catch (error: IOException) {
        null
    }
}
