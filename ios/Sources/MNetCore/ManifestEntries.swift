/// What the entries of a manifest are read by; all throw `JSONError`.

extension BundleFile {
    init(_ entry: JSONObject) throws {
        self.init(sha256: try entry.string("sha256"), size: try entry.integer("size"), role: try entry.string("role"))
    }
}

extension TensorInfo {
    private static let dtypes: Set<DType> = [.bool, .uint8, .int32, .int64, .float16, .float32]

    init(_ entry: JSONObject, scale: Double) throws {
        let shape = try entry.naturals("shape")
        let dynamic = entry["dynamic"] == nil ? [] : try entry.objects("dynamic")
        self.init(
            name: try entry.string("name"), dtype: try entry.dtype("dtype", of: Self.dtypes), shape: shape,
            dynamic: try dynamic.map { try DynamicDimension($0, shape) }, scale: scale)
    }
}

extension DynamicDimension {
    fileprivate init(_ entry: JSONObject, _ shape: [Int]) throws {
        let (index, min, max) = (try entry.natural("dimension"), try entry.natural("min"), try entry.natural("max"))
        if index >= shape.count || min > max || max > Int32.max { throw JSONError("a wrong dynamic dimension \(index)") }
        self.init(index: index, name: try entry.string("name"), min: min, max: max)
    }
}

extension Slot {
    private static let packDtypes: Set<DType> = [.float32, .float16, .int8]

    init(_ entry: JSONObject) throws {
        self.init(
            parameter: try entry.string("parameter"), dtype: try entry.dtype("dtype", of: [.float32]),
            shape: try entry.naturals("shape"), layout: try entry.string("layout"),
            packDtype: entry["pack_dtype"] == nil ? .float32 : try entry.dtype("pack_dtype", of: Self.packDtypes),
            binding: try SlotBinding(entry.child("binding")))
    }
}

extension SlotBinding {
    fileprivate init(_ entry: JSONObject) throws {
        switch try entry.string("kind") {
        case "input":
            self = .input(index: try entry.natural("index"))
        case "bytes":
            self = .bytes(try BytesBinding(entry))
        case "slice":
            guard let source = Source(rawValue: try entry.string("source")) else { throw JSONError("an unknown source of a slice") }
            let (offset, size) = (try entry.natural("offset"), try entry.natural("size"))
            // Neither can be more than a flat vector of fp16 holds in memory.
            if size == 0 || offset > Int32.max || size > Int32.max { throw JSONError("a slice at \(offset) of \(size) elements") }
            self = .slice(source: source, name: try entry.string("name"), offset: offset, size: size)
        case let kind:
            throw JSONError("slots of kind \(kind) belong to a runtime that this phone does not have")
        }
    }
}

extension BytesBinding {
    fileprivate init(_ entry: JSONObject) throws {
        let hashed = entry.given("hashed") == nil ? entry : try entry.child("hashed")
        let keys = entry["keys"] == nil ? [] : try entry.naturals("keys")
        self.init(
            file: try entry.path("file"), offset: try entry.natural("offset"), size: try entry.natural("size"), keys: keys,
            hashedOffset: try hashed.natural("offset"), hashedSize: try hashed.natural("size"))
    }
}

extension GoldenEntry {
    init(_ entry: JSONObject) throws {
        // Without a sample, or with no end to what it may be off by, nothing would be tested.
        let count = try entry.integer("count")
        if !(1...Int(Int32.max)).contains(count) { throw JSONError("\(count) golden samples") }
        self.init(
            samples: try entry.path("samples"), weights: try entry.path("weights"), count: count,
            tolerance: try entry.positive("tolerance"))
    }
}

extension [String: JSON] {
    /// A number above 0 that is finite.
    func positive(_ name: String) throws -> Double {
        let value = try double(name)
        if !value.isFinite || value <= 0 { throw JSONError("a \(name) of \(value)") }
        return value
    }

    /// A plain path inside the bundle.
    func path(_ name: String) throws -> String { try checkedPath(string(name)) }

    fileprivate func natural(_ name: String) throws -> Int {
        let value = try integer(name)
        if value < 0 { throw JSONError("\(name) is \(value)") }
        return value
    }

    fileprivate func naturals(_ name: String) throws -> [Int] {
        try list(name).map {
            guard let length = $0.asInteger, length >= 0 else { throw JSONError("\(name) is not of natural numbers") }
            return length
        }
    }

    fileprivate func dtype(_ name: String, of known: Set<DType>) throws -> DType {
        let dtype = DType(rawValue: try string(name))
        if !known.contains(dtype) { throw JSONError("unknown \(name) \(dtype)") }
        return dtype
    }
}

/// The path, if it is a plain one inside the bundle.
func checkedPath(_ path: String) throws -> String {
    let parts = path.split(separator: "/", omittingEmptySubsequences: false)
    if parts.contains(where: { $0.isEmpty || $0 == "." || $0 == ".." }) || path.contains("\\") {
        throw JSONError("\(path) is not a plain path inside the bundle")
    }
    return path
}
