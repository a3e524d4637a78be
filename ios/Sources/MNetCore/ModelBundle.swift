import Foundation

/// A sample of eager PyTorch: `inputs` give `expected` under the default weights.
public struct GoldenSample: Sendable {
    public let inputs: [Tensor]
    public let expected: [Tensor]
}

/// A bundle in a folder, whose every byte is the one that was exported.
public struct ModelBundle: Sendable {
    public let folder: URL
    public let manifest: Manifest
    public var id: String { manifest.id }

    /// Open the bundle in a folder; files of role `bench` may be left away on a phone.
    ///
    /// Throws `BundleError`: `damaged` where a file was changed, is missing or was added since the export, `unusable` where there is
    /// no bundle or it is of a schema unknown here.
    public init(at folder: URL) throws {
        self.folder = folder
        guard let raw = try? Data(contentsOf: folder.appendingPathComponent(Manifest.file)) else {
            throw BundleError.unusable("\(folder.path) is not a bundle: it has no \(Manifest.file)")
        }
        manifest = try Manifest(parsing: raw)
        try checkFiles()
    }

    /// The weights that the model was trained with, by parameter: version 0. Throws `BundleError`.
    public func defaultWeights() throws -> [String: Tensor] {
        try read(manifest.defaultWeights) { tensors in
            let expected = manifest.slots.map { Carrier(name: $0.parameter, dtype: $0.dtype, shape: $0.shape) }
            try check(tensors, are: expected)
            return tensors
        }
    }

    /// Throws `BundleError`.
    public func golden() throws -> [GoldenSample] {
        try read(manifest.golden.samples) { tensors in
            func tensor(_ name: String, _ info: TensorInfo) throws -> Tensor {
                let tensor = try found(name, in: tensors)
                if tensor.dtype != info.dtype { throw Refused(.wrongDtype, "\(name) is \(tensor.dtype)") }
                if !info.takes(tensor.shape) { throw Refused(.wrongShape, "\(name) is \(tensor.shape)") }
                return tensor
            }
            return try (0..<manifest.golden.count).map { k in
                GoldenSample(
                    inputs: try manifest.inputs.map { try tensor("input.\(k).\($0.name)", $0) },
                    expected: try manifest.outputs.map { try tensor("default.\(k).\($0.name)", $0) })
            }
        }
    }

    /// The request policy `shift`; nil in a bundle without one. Throws `BundleError` where it is damaged.
    public func policy() throws -> Shift? {
        try manifest.policy.map { try Shift(parsing: content($0)) }
    }

    /// Where one of the bundle's files lies.
    public func file(_ path: String) -> URL { folder.appendingPathComponent(path) }

    private func content(_ path: String) throws -> Data {
        do {
            return try Data(contentsOf: file(path), options: .mappedIfSafe)
        } catch {
            throw BundleError.damaged(.missingFile, "\(path) cannot be read: \(error)")
        }
    }

    private func read<Value>(_ path: String, _ use: ([String: Tensor]) throws -> Value) throws -> Value {
        do {
            return try use(Safetensors(content(path)).tensors())
        } catch let refusal as Refused {
            throw BundleError.unusable("\(path): \(refusal)")
        }
    }

    private func checkFiles() throws {
        let sizes = try sizes()
        if let missing = manifest.files.first(where: { $1.role == "device" && sizes[$0] == nil })?.key {
            throw BundleError.damaged(.missingFile, "\(missing) is missing")
        }
        for (path, size) in sizes {
            guard let expected = manifest.files[path] else {
                throw BundleError.damaged(.extraFile, "\(path) is not part of the bundle")
            }
            if size != expected.size {
                throw BundleError.damaged(.wrongSize, "\(path) has \(size) bytes, not \(expected.size)")
            }
            if sha256Hex(try content(path)) != expected.sha256 { throw BundleError.damaged(.wrongHash, "\(path) was changed") }
        }
    }

    /// The size of each file in the folder, by its path, without the manifest.
    private func sizes() throws -> [String: Int] {
        guard let walk = FileManager.default.enumerator(atPath: folder.path) else {
            throw BundleError.unusable("\(folder.path) cannot be read")
        }
        var sizes: [String: Int] = [:]
        for case let path as String in walk where path != Manifest.file {
            let attributes = try? FileManager.default.attributesOfItem(atPath: file(path).path)
            if attributes?[.type] as? FileAttributeType == .typeDirectory { continue }
            sizes[path] = attributes?[.size] as? Int ?? -1
        }
        return sizes
    }
}
