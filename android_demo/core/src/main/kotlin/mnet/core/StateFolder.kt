package mnet.core

import java.io.Closeable
import java.io.File
import java.io.IOException
import java.io.RandomAccessFile
import java.nio.channels.FileLock
import java.nio.channels.OverlappingFileLockException
import java.nio.file.Files

/**
 * A phone's own folder, for one phone at a time: `owner.json` says whose it is and is locked until [close]. Nothing in it is
 * reached through a link. Throws [IOException] where it cannot be had, is another's, or is in use.
 */
internal class StateFolder(private val folder: File) : Closeable {
    private val marker: RandomAccessFile
    private val lock: FileLock

    init {
        folder.mkdirs()
        if (!folder.isDirectory) throw IOException("cannot keep the phone's state in $folder")
        ownerOnly(folder)
        val file = file(MARKER)
        if (!file.exists()) {
            SERVERS.find { File(folder, it).exists() }?.let { throw IOException("$folder holds $it: it is no phone's folder") }
        }
        marker = RandomAccessFile(file, "rw")
        lock = try {
            marker.channel.tryLock()
        } catch (error: OverlappingFileLockException) {
            null // by another phone of this process
        } ?: throw IOException("$folder is in use").also { marker.close() }
        try {
            claim()
        } catch (error: IOException) {
            close()
            throw error
        }
    }

    /** The file of that name; throws [IOException] where there is a link in its place. */
    fun file(name: String): File = File(folder, name).also(::checkNoLink)

    /** The folder of that name, created for its owner only. */
    fun subfolder(name: String): File {
        val inner = file(name)
        inner.mkdirs()
        if (!inner.isDirectory) throw IOException("cannot keep the phone's state in $inner")
        return inner.also(::ownerOnly)
    }

    override fun close() {
        lock.release()
        marker.close()
    }

    private fun claim() {
        val content = ByteArray(minOf(marker.length(), MARKER_BYTES).toInt()).also(marker::readFully)
        val owner = try {
            parseJsonObject(content)["mnet"]
        } catch (error: JsonException) {
            null
        }
        if (owner != null && owner != KIND) throw IOException("$folder is the folder of a $owner")
        if (owner == KIND) return
        try {
            marker.setLength(0)
            marker.write("{\"mnet\":\"$KIND\"}".toByteArray())
        } catch (error: IOException) {
            return // a full disk: the lock holds without it
        }
    }

    private companion object {
        const val MARKER = "owner.json"
        const val MARKER_BYTES = 4096L
        const val KIND = "phone"
        val SERVERS = listOf("keys", "mnet.db")
    }
}

internal fun checkNoLink(file: File) {
    if (Files.isSymbolicLink(file.toPath())) throw IOException("$file is a link")
}

/** Whatever its mode was. */
private fun ownerOnly(folder: File) {
    folder.setReadable(false, false)
    folder.setWritable(false, false)
    folder.setExecutable(false, false)
    folder.setReadable(true)
    folder.setWritable(true)
    folder.setExecutable(true)
}
