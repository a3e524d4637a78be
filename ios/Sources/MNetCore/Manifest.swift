import Foundation

/// One file of a bundle; a phone needs those of role `device`.
public struct BundleFile: Sendable {
    public let sha256: String
    public let size: Int
    public let role: String
}

/// A dimension that is only bounded: the `index`-th of a shape may be `min` to `max`; those of one `name` are equal.
public struct DynamicDimension: Sendable {
    public let index: Int
    public let name: String
    public let min: Int
    public let max: Int
}

/// One input or output of the device model. `shape` is that of golden sample 0, but for the `dynamic` dimensions; `scale` is an
/// output's root mean square over the golden samples, to which every error relates.
public struct TensorInfo: Sendable {
    public let name: String
    public let dtype: DType
    public let shape: [Int]
    public let dynamic: [DynamicDimension]
    public let scale: Double

    /// Whether a tensor of this shape can be it.
    public func takes(_ given: [Int]) -> Bool {
        given.count == shape.count
            && given.indices.allSatisfy { index in
                guard let bounds = dynamic.first(where: { $0.index == index }) else { return given[index] == shape[index] }
                return (bounds.min...bounds.max).contains(given[index])
            }
    }
}

/// How new weights reach the program.
public enum SlotBinding: Sendable {
    /// As input number `index` of `forward`.
    case input(index: Int)

    /// As bytes of a copy of a file.
    case bytes(BytesBinding)

    /// As `size` elements at `offset` of the flat fp16 vector `name`.
    case slice(source: Source, name: String, offset: Int, size: Int)

    /// What a flat vector is to the program.
    public enum Source: String, Sendable {
        case input, state
    }
}

/// `size` bytes at `offset` of `file`. At each of `keys` stands the SHA-256, in hex, of the `hashedSize` bytes at `hashedOffset`, among
/// which they are.
public struct BytesBinding: Sendable {
    public let file: String
    public let offset: Int
    public let size: Int
    public let keys: [Int]
    public let hashedOffset: Int
    public let hashedSize: Int
}

/// Where one generated parameter lives. `shape` and `dtype` are PyTorch's, `layout` is how the runtime wants it, one letter a
/// dimension, and `packDtype` what it travels in.
public struct Slot: Sendable {
    public let parameter: String
    public let dtype: DType
    public let shape: [Int]
    public let layout: String
    public let packDtype: DType
    public let binding: SlotBinding
}

/// Samples with the outputs of eager PyTorch; one may be off by `tolerance * max(its scale, largest expected)`.
public struct GoldenEntry: Sendable {
    public let samples: String
    public let weights: String
    public let count: Int
    public let tolerance: Double
}

/// The content of a bundle's `manifest.json`, as `export/format/manifest.py` writes it.
public struct Manifest: Sendable {
    public static let file = "manifest.json"
    private static let schema = "mnet.bundle/2.0"
    private static let knownSchemas = "mnet.bundle/2."

    public let id: String
    public let target: String
    public let program: String
    public let files: [String: BundleFile]
    public let inputs: [TensorInfo]
    public let outputs: [TensorInfo]
    public let slots: [Slot]
    public let defaultWeights: String
    public let golden: GoldenEntry

    /// The file of the request policy `shift`, if the bundle has one.
    public let policy: String?

    /// Size of the generated parameters in the artifact, in bytes.
    public let generatedBytes: Int

    /// Read and check the bytes of `manifest.json`: its id is the SHA-256 of the same text without its `id` entry.
    ///
    /// Throws `BundleError`: `damaged` if a byte was changed, `unusable` for a schema unknown here.
    public init(parsing raw: Data) throws {
        let content: JSONObject
        do {
            content = try parseJSONObject(raw)
        } catch {
            throw BundleError.damaged(.malformed, "\(Self.file): \(error)")
        }
        guard let schema = content["schema"]?.asText else {
            throw BundleError.damaged(.malformed, "\(Self.file) names no schema")
        }
        if !Self.isKnown(schema) {
            // Where the id still vouches for our schema, the schema entry itself was changed: that is damage.
            let ours = raw.replacingFirst("\"schema\":\"\(schema)\"", with: "\"schema\":\"\(Self.schema)\"")
            if !Self.isSealed(ours, content) {
                throw BundleError.unusable("the bundle is of schema \(schema); this version reads \(Self.schema)")
            }
        }
        if !Self.isSealed(raw, content) {
            throw BundleError.damaged(.wrongHash, "\(Self.file) was changed: it does not match its id")
        }
        do {
            try self.init(content)
        } catch let error as JSONError {
            throw BundleError.unusable("\(Self.file) breaks its schema: \(error)")
        }
    }

    private init(_ content: JSONObject) throws {
        id = try content.string("id")
        target = try content.string("target")
        program = try content.child("model").path("program")
        files = try Dictionary(uniqueKeysWithValues: content.child("files").map { path, entry in
            (try checkedPath(path), try BundleFile(entry.object(at: path)))
        })
        inputs = try content.objects("inputs").map { try TensorInfo($0, scale: 1) }
        outputs = try content.objects("outputs").map { try TensorInfo($0, scale: $0.positive("scale")) }
        slots = try content.objects("slots").map(Slot.init)
        defaultWeights = try content.path("default_weights")
        golden = try GoldenEntry(content.child("golden"))
        policy = content.given("policy") == nil ? nil : try content.path("policy")
        if outputs.isEmpty { throw JSONError("no outputs") }
        generatedBytes = try slots.reduce(0) { sum, slot in
            guard let size = product(of: slot.shape, times: slot.dtype.width), size <= Int32.max else {
                throw JSONError("\(slot.parameter) has shape \(slot.shape)")
            }
            return sum + size
        }
    }

    private static func isKnown(_ schema: String) -> Bool {
        let minor = schema.dropFirst(knownSchemas.count)
        return schema.hasPrefix(knownSchemas) && !minor.isEmpty && minor.utf8.allSatisfy { (0x30...0x39).contains($0) }
    }

    private static func isSealed(_ raw: Data, _ content: JSONObject) -> Bool {
        guard let id = content["id"]?.asText else { return false }
        let unsealed = raw.replacingFirst("\"id\":\"\(id)\",", with: "")
        return unsealed.count < raw.count && sha256Hex(unsealed) == id
    }
}

extension Data {
    /// The bytes with the first occurrence of a text replaced, if there is one.
    fileprivate func replacingFirst(_ text: String, with other: String) -> Data {
        guard let range = range(of: Data(text.utf8)) else { return self }
        var changed = self
        changed.replaceSubrange(range, with: Data(other.utf8))
        return changed
    }
}
