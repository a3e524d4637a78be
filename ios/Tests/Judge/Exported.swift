import Foundation
import MNetCore
import MNetVectors

@testable import MNetCoreML

/// Swap a pack into a bundle of target `ios`, whose program runs at the other end of the desk; the vector that CoreML would get.
func swapped(_ desk: Desk, _ folder: String, _ pack: Data) throws -> JSONObject {
    let bundle = try ModelBundle(at: URL(fileURLWithPath: folder))
    let controller = try SwapController(bundle, DeskProgram(desk: desk, bundle: bundle))
    try controller.swap(pack)
    let vector = try FlatVector(bundle.manifest)
    let halves = try vector.filled(readPack(pack, for: bundle.manifest).parameters)
    return [
        "version": .integer(controller.live.version), "name": .text(vector.name), "source": .text(vector.source.rawValue),
        "halves": .text(halves.withUnsafeBytes { Data($0) }.base64EncodedString()),
    ]
}

/// The copy of a program that holds the weights of a pack as bytes.
func patched(_ name: String, _ pack: Data) throws -> JSONObject {
    let bundle = try ModelBundle(at: Vector.folder.appendingPathComponent("exported/\(name)"))
    let manifest = bundle.manifest
    try checkByteSlots(manifest)
    return try inScratch { folder in
        let copy = folder.appendingPathComponent("copy.pte")
        try FileManager.default.copyItem(at: bundle.file(manifest.program), to: copy)
        try patch(copy, manifest.slots, readPack(pack, for: manifest).parameters)
        return ["program": .text(try Data(contentsOf: copy).base64EncodedString())]
    }
}
