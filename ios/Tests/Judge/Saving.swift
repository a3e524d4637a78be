import Foundation
import MNetCore

/// Keep one version after the other, and say the number of each that was kept, until somebody kills this process.
func saveForever(_ desk: Desk, in folder: URL) throws {
    let store = try WeightStore(folder)
    var running: Kept?
    for version in 1... {
        let pack = pack(version)
        let new = Kept(jws: "\(version)", release: release(version, pack))
        try store.save(new, pack: pack, running: running)
        running = new
        try desk.write(["kept": .integer(version)])
    }
}

/// The newest version whose release and pack are both whole; 0 without one.
func newestKept(in folder: URL) throws -> Int {
    let store = try WeightStore(folder)
    for version in store.releases().compactMap({ Int($0) }) {
        if (try? store.pack(of: release(version, pack(version)))) != nil { return version }
    }
    return 0
}

private func pack(_ version: Int) -> Data { Data(repeating: UInt8(truncatingIfNeeded: version), count: 300_000) + Data("\(version)".utf8) }

private func release(_ version: Int, _ pack: Data) -> Release {
    Release(
        device: "d", bundle: "b", version: version, sha256: sha256Hex(pack), size: pack.count, issuedAt: 0, expiresAt: .max)
}
