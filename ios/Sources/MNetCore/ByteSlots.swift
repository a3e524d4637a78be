import Foundation

private let keySize = 64

/// Throws `BundleError` unless each slot is bytes of the program, inside it and as large as its parameter.
public func checkByteSlots(_ manifest: Manifest) throws {
    guard let size = manifest.files[manifest.program]?.size, size >= 0 else {
        throw BundleError.unusable("the bundle has no file \(manifest.program)")
    }
    for slot in manifest.slots {
        guard case .bytes(let place) = slot.binding, place.file == manifest.program,
            place.size == product(of: try arrangedShape(slot), times: slot.dtype.width), place.offset <= size - place.size,
            place.hashedOffset <= size - place.hashedSize, place.keys.allSatisfy({ $0 <= size - keySize })
        else { throw BundleError.unusable("\(slot.parameter) does not fit its slot in \(manifest.program)") }
    }
}

/// Overwrite the byte slots of a copy of the program, checked by `checkByteSlots`, and the keys by which the runtime knows their
/// content. Throws `BundleError` where a parameter is missing or of another size, `StorageError` where the disk fails.
public func patch(_ copy: URL, _ slots: [Slot], _ parameters: [String: Tensor]) throws {
    var values: [(BytesBinding, Data)] = []
    for slot in slots {
        guard case .bytes(let place) = slot.binding, let parameter = parameters[slot.parameter],
            case let value = try arranged(slot, parameter).data, value.count == place.size
        else { throw BundleError.unusable("no value for the slot of \(slot.parameter)") }
        values.append((place, value))
    }
    do {
        let file = try FileHandle(forUpdating: copy)
        defer { try? file.close() }
        for (place, value) in values { try file.write(value, at: place.offset) }
        // All slots first: a hashed range may hold several.
        for (place, _) in values where !place.keys.isEmpty {
            try file.seek(toOffset: UInt64(place.hashedOffset))
            let key = Data(sha256Hex(try file.read(upToCount: place.hashedSize) ?? Data()).utf8)
            for offset in place.keys { try file.write(key, at: offset) }
        }
    } catch {
        throw StorageError("cannot write \(copy.path): \(error)")
    }
}

extension FileHandle {
    fileprivate func write(_ data: Data, at offset: Int) throws {
        try seek(toOffset: UInt64(offset))
        try write(contentsOf: data)
    }
}
