import Foundation

/// Replace `file` by `data` in one step that survives a power loss at any byte: write a temporary file, sync it, rename, sync the
/// folder. A reader sees the old file or the new one, never a mixture. Throws `StorageError`.
func writeDurably(_ data: Data, to file: URL) throws {
    let folder = file.deletingLastPathComponent()
    let name = ".\(file.lastPathComponent).\(UUID().uuidString.lowercased()).tmp"
    let temporary = folder.appendingPathComponent(name)
    let descriptor = open(temporary.path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    if descriptor < 0 { throw storageError("write", temporary) }
    defer { unlink(temporary.path) }
    do {
        defer { close(descriptor) }
        try write(data, to: descriptor, temporary)
        if !synced(descriptor) { throw storageError("sync", temporary) }
    }
    if rename(temporary.path, file.path) != 0 { throw storageError("rename to", file) }
    syncFolder(folder)
}

private func write(_ data: Data, to descriptor: Int32, _ file: URL) throws {
    try data.withUnsafeBytes { bytes in
        var at = 0
        while at < bytes.count {
            let rest = UnsafeRawBufferPointer(rebasing: bytes[at...])
            let count = write(descriptor, rest.baseAddress, rest.count)
            if count < 0, errno == EINTR { continue }
            if count <= 0 { throw storageError("write", file) }
            at += count
        }
    }
}

/// Whether the bytes are on the disk itself. On Apple's systems `fsync` leaves them in the disk's own cache.
private func synced(_ descriptor: Int32) -> Bool {
    #if canImport(Darwin)
        if fcntl(descriptor, F_FULLFSYNC) == 0 { return true }
    #endif
    return fsync(descriptor) == 0
}

/// Let a rename in a folder outlive a power loss. Where a file system opens no folders, the rename may be undone after one, and
/// the old file is whole.
private func syncFolder(_ folder: URL) {
    let descriptor = open(folder.path, O_RDONLY | O_CLOEXEC)
    if descriptor < 0 { return }
    _ = synced(descriptor)
    close(descriptor)
}

/// What the system said of the last call.
func storageError(_ what: String, _ file: URL) -> StorageError {
    StorageError("cannot \(what) \(file.path): \(String(cString: strerror(errno)))")
}
