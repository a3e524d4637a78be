package mnet.core

import java.io.File
import java.io.FileOutputStream
import java.io.IOException
import java.nio.channels.FileChannel
import java.nio.file.StandardOpenOption
import java.util.UUID

/**
 * Replace [file] by [data] in one step that survives a power loss at any byte: write a temporary file, fsync, rename, fsync
 * the folder. A reader sees the old file or the new one, never a mixture. Throws [IOException].
 */
public fun writeDurably(file: File, data: ByteArray) {
    val temporary = File(file.parentFile, ".${file.name}.${UUID.randomUUID()}.tmp")
    try {
        FileOutputStream(temporary).use {
            it.write(data)
            it.fd.sync()
        }
        if (!temporary.renameTo(file)) throw IOException("cannot rename $temporary to $file")
    } finally {
        temporary.delete()
    }
    syncFolder(file.parentFile!!)
}

/** Let a rename in [folder] outlive a power loss. */
public fun syncFolder(folder: File): Unit = try {
    FileChannel.open(folder.toPath(), StandardOpenOption.READ).use { it.force(true) }
} catch (error: IOException) {
    // A file system that opens no folders: after a power loss the rename may be undone, and the old file is whole.
}
