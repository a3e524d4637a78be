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
import mnet.core.syncFolder
import mnet.core.writeDurably

private const val ASSET_FOLDER = "bundle"
private const val CATALOGUE = "catalogue.json"

/** The bundle that this app serves: that of its assets, unless one was sent by adb since its data were cleared. */
class InstalledBundle(private val context: Context) {
    private val folder = File(context.filesDir, "bundles")
    private val pushed = File(folder, "pushed")
    private val pushedBefore = File(folder, "pushed.before")

    /**
     * The bundle to serve, checked byte by byte; null where the app carries none. What is damaged is unpacked again from the
     * assets. Throws [BundleException], or [IOException] where the disk is full.
     */
    fun open(): Bundle? {
        if (!pushed.isDirectory) pushedBefore.renameTo(pushed) // a power cut in the middle of `replaceBy`
        whole(pushed)?.let { return it }
        val raw = asset("$ASSET_FOLDER/${Manifest.FILE}") ?: return null
        val manifest = Manifest.parse(raw)
        val target = File(folder, manifest.id)
        whole(target)?.let { return it }
        unpack(raw, manifest, target)
        return Bundle.open(target)
    }

    /**
     * Serve the bundle in [sent] from now on. Throws [BundleException] if it is none, [IOException] where the disk is full,
     * and nothing changes.
     */
    fun replaceBy(sent: File) {
        Bundle.open(sent)
        val part = File(folder, "pushed.part")
        part.deleteRecursively()
        for (file in sent.walkTopDown().filter { it.isFile }) {
            write(File(part, file.relativeTo(sent).path), file.readBytes())
        }
        pushedBefore.deleteRecursively()
        pushed.renameTo(pushedBefore)
        if (!part.renameTo(pushed)) {
            pushedBefore.renameTo(pushed)
            throw BundleException("cannot keep the bundle in $pushed")
        }
        syncFolder(folder)
        pushedBefore.deleteRecursively()
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

    /** Null where there is no bundle, or one that is damaged. */
    private fun whole(bundle: File): Bundle? = try {
        if (bundle.isDirectory) Bundle.open(bundle) else null
    } catch (error: BundleException) {
        null
    }

    private fun unpack(raw: ByteArray, manifest: Manifest, target: File) {
        folder.deleteRecursively()
        val part = File(folder, "${manifest.id}.part")
        for (path in manifest.files.filterValues { it.role == "device" }.keys) {
            write(File(part, path), asset("$ASSET_FOLDER/$path") ?: throw BundleException("the app lacks $path"))
        }
        write(File(part, Manifest.FILE), raw)
        if (!part.renameTo(target)) throw BundleException("cannot unpack the bundle to $target")
        syncFolder(folder)
    }

    private fun write(file: File, data: ByteArray) {
        file.parentFile?.mkdirs()
        writeDurably(file, data)
    }

    private fun asset(path: String): ByteArray? = try {
        context.assets.open(path).use { it.readBytes() }
    } catch (error: IOException) {
        null
    }
}
