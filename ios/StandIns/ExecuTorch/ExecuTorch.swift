// Stand-ins with the signatures of ExecuTorch's Swift API (1.5), so that what imports it is type-checked on machines without it. They
// do nothing, and say nothing of what ExecuTorch does. `Error` and `Tensor` are here because they hide Swift's and ours.

import Foundation

public enum DataType: Int, Sendable {
    case byte = 0
    case char = 1
    case short = 2
    case int = 3
    case long = 4
    case half = 5
    case float = 6
    case double = 7
    case bool = 11
    case undefined = 43
}

public final class Error: NSObject {}

public final class Tensor<T>: NSObject {}

public class AnyTensor: NSObject, ValueConvertible {
    public let shape: [Int]
    public let dataType: DataType

    public convenience init(
        data: Data, shape: [Int], strides: [Int] = [], dimensionOrder: [Int] = [], dataType: DataType
    ) {
        self.init(shape, dataType)
    }

    private init(_ shape: [Int], _ dataType: DataType) {
        (self.shape, self.dataType) = (shape, dataType)
    }

    public func bytes(_ handler: (UnsafeRawPointer, Int, DataType) -> Void) {}
    public func asValue() -> Value { Value(self) }
}

public class Value: NSObject, ValueConvertible {
    public let anyTensor: AnyTensor?

    public init(_ tensor: AnyTensor) {
        anyTensor = tensor
    }

    public func asValue() -> Value { self }
}

public protocol ValueConvertible {
    func asValue() -> Value
}

public enum ModuleLoadMode: Int {
    case file = 0
    case mmap
    case mmapUseMlock
    case mmapUseMlockIgnoreErrors
}

public class Module: NSObject {
    public init(filePath: String, loadMode: ModuleLoadMode) {}
    public func load(_ method: String) throws {}
    public func forward(_ inputs: [ValueConvertible]) throws -> [Value] { inputs.map { $0.asValue() } }
}
