import Foundation

/// A phone's own folder, for one phone at a time: `owner.json` says whose it is and is locked while this object lives. Nothing in it
/// is reached through a link. Throws `StorageError` where it cannot be had, is another's, or is in use.
///
/// Let it be in the app's own container: iOS ends an app that holds a lock in a group's container while it is suspended.
final class StateFolder: Sendable {
    private static let marker = "owner.json"
    private static let markerBytes = 4096
    private static let kind = "phone"
    private static let servers = ["keys", "mnet.db"]

    private let folder: URL
    private let descriptor: Int32

    init(_ folder: URL) throws {
        self.folder = folder
        try createForOwner(folder)
        let marker = folder.appendingPathComponent(Self.marker)
        if !FileManager.default.fileExists(atPath: marker.path) {
            for name in Self.servers where FileManager.default.fileExists(atPath: folder.appendingPathComponent(name).path) {
                throw StorageError("\(folder.path) holds \(name): it is no phone's folder")
            }
        }
        descriptor = open(marker.path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        if descriptor < 0 { throw storageError("open", marker) }
        do {
            if flock(descriptor, LOCK_EX | LOCK_NB) != 0 { throw StorageError("\(folder.path) is in use") }
            try claim()
        } catch {
            close(descriptor)
            throw error
        }
    }

    deinit {
        close(descriptor)
    }

    /// The file of that name; throws where there is a link in its place.
    func file(_ name: String) throws -> URL {
        let file = folder.appendingPathComponent(name)
        try refuseLink(file)
        return file
    }

    /// The folder of that name, created for its owner only.
    func subfolder(_ name: String) throws -> URL {
        let inner = try file(name)
        try createForOwner(inner)
        return inner
    }

    private func claim() throws {
        var content = [UInt8](repeating: 0, count: Self.markerBytes)
        let count = max(0, read(descriptor, &content, content.count))
        let owner = try? parseJSONObject(Data(content.prefix(count)))["mnet"]?.asText
        if let owner, owner != Self.kind { throw StorageError("\(folder.path) is the folder of a \(owner)") }
        if owner == Self.kind { return }
        let text = Array("{\"mnet\":\"\(Self.kind)\"}".utf8)
        // On a full disk the lock holds without it.
        if ftruncate(descriptor, 0) == 0 { _ = pwrite(descriptor, text, text.count, 0) }
    }
}

func refuseLink(_ file: URL) throws {
    let type = try? FileManager.default.attributesOfItem(atPath: file.path)[.type] as? FileAttributeType
    if type == .typeSymbolicLink { throw StorageError("\(file.path) is a link") }
}

/// Whatever its mode was. What is in it must not be copied to another phone, which would pass for this one.
private func createForOwner(_ folder: URL) throws {
    try? FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: folder.path, isDirectory: &isFolder), isFolder.boolValue else {
        throw StorageError("cannot keep the phone's state in \(folder.path)")
    }
    chmod(folder.path, 0o700)
    #if canImport(Darwin)
        var folder = folder
        var values = URLResourceValues()
        values.isExcludedFromBackup = true
        try? folder.setResourceValues(values)
    #endif
}
