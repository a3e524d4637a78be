package mnet.core

import java.io.File
import java.io.FileOutputStream
import java.io.IOException
import java.nio.channels.FileChannel
import java.nio.file.StandardOpenOption
import java.util.UUID

/**
 * Replace [file] by [data] in one step that survives a power loss at any byte: write beside it, fsync, rename, fsync
 * the folder. A reader sees the old file or the new one, never a mixture. Throws [IOException].
 */
fun writeDurably(file: File, data: ByteArray) {
    val beside = File(file.parentFile, ".${file.name}.${UUID.randomUUID()}.tmp")
    try {
        FileOutputStream(beside).use {
            it.write(data)
            it.fd.sync()
        }
        if (!beside.renameTo(file)) throw IOException("cannot rename $beside to $file")
    } finally {
        beside.delete()
    }
    syncFolder(file.parentFile!!)
}

/** Let a rename in [folder] outlive a power loss. */
fun syncFolder(folder: File) = try {
    FileChannel.open(folder.toPath(), StandardOpenOption.READ).use { it.force(true) }
} catch (error: IOException) {
    // A file system that opens no folders: after a power loss the rename may be undone, and the old file is whole.
}
