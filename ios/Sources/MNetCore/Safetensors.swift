import Foundation

/// A safetensors file: 8 bytes of header length, a JSON header, then the tensors one after the other without a gap.
/// Format: https://huggingface.co/docs/safetensors.
///
/// Reading throws `Refused` with `malformed`. The header is read at once, the tensors by `tensors()`.
public struct Safetensors: Sendable {
    private static let prefix = 8
    private static let metadataName = "__metadata__"
    private static let names: [String: DType] = [
        "F32": .float32, "F16": .float16, "I8": .int8, "U8": .uint8, "I32": .int32, "I64": .int64, "BOOL": .bool,
    ]
    private static let widths = [
        "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2, "I32": 4, "U32": 4,
        "F32": 4, "I64": 8, "U64": 8, "F64": 8,
    ]

    private let header: JSONObject
    private let content: Data

    /// The texts that the file carries in addition to its tensors.
    public let metadata: JSONObject

    public init(_ data: Data) throws {
        try malformed(if: data.count < Self.prefix, "\(data.count) bytes are no safetensors file")
        let length = data.prefix(Self.prefix).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        let rest = data.dropFirst(Self.prefix)
        try malformed(if: length > rest.count, "the header has \(length) bytes, the file \(data.count)")
        let header = try orMalformed("the header") { try parseJSONObject(rest.prefix(Int(length))) }
        metadata = try orMalformed("the header") {
            header[Self.metadataName] == nil ? [:] : try header.child(Self.metadataName)
        }
        self.header = header
        content = rest.dropFirst(Int(length))
    }

    /// The tensors by name, as views of the file.
    public func tensors() throws -> [String: Tensor] {
        let entries = try orMalformed("the header") {
            try header.filter { $0.key != Self.metadataName }.map { try Entry($0.key, $0.value.object(at: $0.key)) }
        }
        var end = 0
        // An empty tensor starts where the next one does.
        for entry in entries.sorted(by: { ($0.begin, $0.end) < ($1.begin, $1.end) }) {
            try malformed(if: entry.begin != end || entry.end < entry.begin, "\(entry.name) does not follow the tensor before it")
            try malformed(if: try entry.size() != entry.end - entry.begin, "\(entry.name) has not the bytes of its shape")
            end = entry.end
        }
        try malformed(if: end != content.count, "the tensors end at \(end), the file at \(content.count)")
        let start = content.startIndex
        return Dictionary(uniqueKeysWithValues: entries.map { entry in
            let dtype = Self.names[entry.dtype] ?? DType(rawValue: entry.dtype)
            return (entry.name, Tensor(dtype, entry.shape, content[start + entry.begin..<start + entry.end]))
        })
    }

    private struct Entry {
        let name: String
        let dtype: String
        let shape: [Int]
        let begin: Int
        let end: Int

        init(_ name: String, _ fields: JSONObject) throws {
            self.name = name
            dtype = try fields.string("dtype")
            shape = try Self.integers(fields, "shape")
            let offsets = try Self.integers(fields, "data_offsets")
            guard offsets.count == 2 else { throw JSONError("a tensor has two offsets") }
            (begin, end) = (offsets[0], offsets[1])
        }

        func size() throws -> Int {
            guard let width = widths[dtype] else { throw Refused(.malformed, "\(name) has the unknown dtype \(dtype)") }
            guard let size = product(of: shape, times: width), size <= Int32.max else {
                throw Refused(.malformed, "\(name) has shape \(shape)")
            }
            return size
        }

        private static func integers(_ fields: JSONObject, _ name: String) throws -> [Int] {
            try fields.list(name).map {
                guard let value = $0.asInteger else { throw JSONError("an entry of \(name) is not a whole number") }
                return value
            }
        }
    }
}

/// How many elements of `width` a shape has; nil where a length is negative, or where it is more than an `Int` can count.
func product(of shape: [Int], times width: Int = 1) -> Int? {
    var size = width
    for length in shape {
        let (next, overflow) = size.multipliedReportingOverflow(by: length)
        if length < 0 || overflow { return nil }
        size = next
    }
    return size
}
