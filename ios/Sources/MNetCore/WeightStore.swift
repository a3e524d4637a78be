import Foundation

/// A verified release, with the signed text that it was read from.
public struct Kept: Sendable {
    public let jws: String
    public let release: Release

    public init(jws: String, release: Release) {
        (self.jws, self.release) = (jws, release)
    }
}

/// What a phone keeps over a power loss: `identity.json`, `current.jws`, `previous.jws`, `packs/`, `fresh.json`, `reset` and
/// `measurements.json`;
/// `requestPolicy` keeps its `asked.json` in the same folder. The folder is for its owner, and for one phone while this lives.
///
/// A version is kept in the order pack, previous release, current release, each durably: whatever moment the power fails at,
/// `current.jws` names a pack that is wholly there, or the one before it does. Methods throw `StorageError`.
public final class WeightStore: Sendable {
    private let own: StateFolder
    private let packs: URL
    private let identityFile: URL
    private let current: URL
    private let previous: URL
    private let resetFile: URL
    private let freshFile: URL
    private let asked: URL

    /// What the app measured.
    let measurements: Measurements

    public init(_ folder: URL) throws {
        own = try StateFolder(folder)
        packs = try own.subfolder("packs")
        identityFile = try own.file("identity.json")
        current = try own.file("current.jws")
        previous = try own.file("previous.jws")
        resetFile = try own.file("reset")
        freshFile = try own.file("fresh.json")
        asked = try own.file(statisticFile)
        measurements = Measurements(try own.file("measurements.json"))
    }

    /// Who this phone was enrolled as; nil before enrolment. Throws `Refused` with malformed if the file is damaged.
    public func identity() throws -> Identity? {
        guard let data = try? Data(contentsOf: identityFile) else { return nil }
        return try orMalformed("\(identityFile.path) is damaged, the phone must enrol again") {
            try Identity(parseJSONObject(data))
        }
    }

    /// Keep who the phone is, with its token.
    public func save(_ identity: Identity) throws {
        guard let text = try? identity.json.written() else { return }
        try writeDurably(text, to: identityFile)
    }

    /// Until when (Unix seconds) the kept version is known to be the newest; nil where nothing is known.
    var freshUntil: Int? {
        guard let seconds = text(freshFile).flatMap(Double.init), seconds.isFinite else { return nil }
        return Int(min(max(seconds, -1e15), 1e15))
    }

    func save(freshUntil: Int) throws {
        try writeDurably(Data(String(freshUntil).utf8), to: freshFile)
    }

    /// Forget the server and everything that it sent.
    public func clear() {
        for file in [identityFile, resetFile, freshFile] { unlink(file.path) }
        clearVersions()
    }

    /// Forget every version, and what it was made from; the phone stays known to the server.
    func clearVersions() {
        for file in [current, previous, asked] + ownPacks() { unlink(file.path) }
        measurements.clear()
    }

    /// The kept releases as JWS, newest first; nothing in them is verified yet.
    public func releases() -> [String] { [current, previous].compactMap(text) }

    /// The kept pack of a verified release; `Refused` if it is gone or not the one released.
    public func pack(of release: Release) throws -> Data {
        let file = try packFile(release.sha256)
        guard let data = try? Data(contentsOf: file) else { throw Refused(.missingFile, "no pack \(release.sha256)") }
        try checkBytes(data, of: release)
        return data
    }

    /// Keep a verified version as the current one, and the one that ran until now as the previous one.
    public func save(_ new: Kept, pack: Data, running: Kept?) throws {
        try writeDurably(pack, to: packFile(new.release.sha256))
        if let running { try writeDurably(Data(running.jws.utf8), to: previous) }
        try writeDurably(Data(new.jws.utf8), to: current)
        let kept = [new.release.sha256, running?.release.sha256].compactMap { $0.map { "\($0).safetensors" } }
        for file in ownPacks() where !kept.contains(file.lastPathComponent) { unlink(file.path) }
    }

    /// The user's wish to run the default weights instead of every version up to this one; 0 where there is none.
    var resetVersion: Int { text(resetFile).flatMap { Int($0) } ?? 0 }

    func save(resetVersion: Int) throws {
        try writeDurably(Data(String(resetVersion).utf8), to: resetFile)
    }

    private func text(_ file: URL) -> String? {
        (try? Data(contentsOf: file)).flatMap { String(data: $0, encoding: .utf8) }
    }

    private func packFile(_ sha256: String) throws -> URL {
        let file = packs.appendingPathComponent("\(sha256).safetensors")
        try refuseLink(file)
        return file
    }

    /// What `save` leaves: packs, and parts of some that a power loss cut. Files of others stay.
    private func ownPacks() -> [URL] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: packs.path)) ?? []
        return names.filter { name in
            let parts = name.split(separator: ".", omittingEmptySubsequences: false)
            let isPart = parts.count == 5 && parts[0].isEmpty && parts[4] == "tmp" && UUID(uuidString: String(parts[3])) != nil
            let pack = isPart ? parts[1...2] : parts[...]
            return pack.count == 2 && isSHA256(pack[pack.startIndex]) && pack[pack.startIndex + 1] == "safetensors"
        }.map { packs.appendingPathComponent($0) }
    }
}
