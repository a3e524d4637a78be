import Foundation

/// What the numbers of a tensor are: the manifest's name, such as `float32`, or safetensors' name for one that nothing here takes.
public struct DType: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    public let rawValue: String

    public init(rawValue: String) {
        self.rawValue = rawValue
    }

    public static let float32 = DType(rawValue: "float32")
    public static let float16 = DType(rawValue: "float16")
    public static let int8 = DType(rawValue: "int8")
    public static let uint8 = DType(rawValue: "uint8")
    public static let int32 = DType(rawValue: "int32")
    public static let int64 = DType(rawValue: "int64")
    public static let bool = DType(rawValue: "bool")

    /// Bytes of one element.
    public var width: Int {
        switch self {
        case .int64: 8
        case .float16: 2
        case .int8, .uint8, .bool: 1
        default: 4
        }
    }

    /// Whether its numbers are floating-point ones.
    public var isFloat: Bool { self == .float32 || self == .float16 }

    public var description: String { rawValue }
}

/// Numbers with a shape: row-major, little-endian, as safetensors and every Apple processor keep them.
public struct Tensor: Sendable {
    public let dtype: DType
    public let shape: [Int]

    /// The bytes, from the first to the last; its indices need not start at 0.
    public let data: Data

    public init(_ dtype: DType, _ shape: [Int], _ data: Data) {
        self.dtype = dtype
        self.shape = shape
        self.data = data
    }

    public init(_ shape: [Int], _ values: [Float]) {
        self.init(.float32, shape, values.withUnsafeBytes { Data($0) })
    }

    public init(_ shape: [Int], _ values: [Int64]) {
        self.init(.int64, shape, values.withUnsafeBytes { Data($0) })
    }

    /// The values of a tensor of floating-point numbers; none of any other.
    public func floats() -> [Float] {
        switch dtype {
        case .float32: elements(Float.self)
        case .float16: elements(UInt16.self).map(halfToFloat)
        default: []
        }
    }

    /// The values of a tensor of 64-bit integers; none of any other.
    public func longs() -> [Int64] {
        dtype == .int64 ? elements(Int64.self) : []
    }

    /// The values of any tensor that a model may give, truth values as 0 and 1; none of any other.
    public func numbers() -> [Double] {
        switch dtype {
        case .float32, .float16: floats().map(Double.init)
        case .int64: elements(Int64.self).map(Double.init)
        case .int32: elements(Int32.self).map(Double.init)
        case .uint8, .bool: data.map(Double.init)
        default: []
        }
    }

    /// The bytes as numbers that any bytes can be.
    func elements<Number: BitwiseCopyable & ExpressibleByIntegerLiteral>(_: Number.Type) -> [Number] {
        var values = [Number](repeating: 0, count: data.count / MemoryLayout<Number>.size)
        values.withUnsafeMutableBytes { _ = data.copyBytes(to: $0) }
        return values
    }
}
