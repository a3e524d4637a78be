// Stand-ins with the signatures of Apple's CoreML (iOS 17, and MLState of iOS 18), so that what imports it is type-checked on
// machines without it. They do nothing, and say nothing of what CoreML does.

import Foundation

public enum MLComputeUnits: Int, Sendable {
    case cpuOnly = 0
    case cpuAndGPU = 1
    case all = 2
    case cpuAndNeuralEngine = 3
}

open class MLModelConfiguration: NSObject {
    open var computeUnits: MLComputeUnits = .all
}

public enum MLMultiArrayDataType: Int, Sendable {
    case double = 65600
    case float32 = 65568
    case float16 = 65552
    case int32 = 131104
}

open class MLMultiArray: NSObject {
    public init(shape: [NSNumber], dataType: MLMultiArrayDataType) throws {
        (self.shape, self.dataType, strides) = (shape, dataType, [])
    }

    open private(set) var dataType: MLMultiArrayDataType
    open private(set) var shape: [NSNumber]
    open private(set) var strides: [NSNumber]

    public func withUnsafeBytes<R>(_ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R {
        try body(UnsafeRawBufferPointer(start: nil, count: 0))
    }

    public func withUnsafeMutableBytes<R>(_ body: (UnsafeMutableRawBufferPointer, [Int]) throws -> R) rethrows -> R {
        try body(UnsafeMutableRawBufferPointer(start: nil, count: 0), [])
    }
}

open class MLFeatureValue: NSObject {
    open var multiArrayValue: MLMultiArray? { nil }
}

public protocol MLFeatureProvider {
    var featureNames: Set<String> { get }
    func featureValue(for featureName: String) -> MLFeatureValue?
}

open class MLDictionaryFeatureProvider: NSObject, MLFeatureProvider {
    public init(dictionary: [String: Any]) throws {}
    open var featureNames: Set<String> { [] }
    open func featureValue(for featureName: String) -> MLFeatureValue? { nil }
}

@available(iOS 18, macOS 15, *)
public final class MLState: NSObject {
    public func withMultiArray<R>(for stateName: String, _ body: (MLMultiArray) throws -> R) rethrows -> R {
        fatalError("a stand-in holds nothing")
    }
}

open class MLModel: NSObject {
    public init(contentsOf url: URL, configuration: MLModelConfiguration) throws {}
    open class func compileModel(at modelURL: URL) async throws -> URL { modelURL }
    open func prediction(from input: any MLFeatureProvider) throws -> any MLFeatureProvider { input }

    @available(iOS 18, macOS 15, *)
    open func makeState() -> MLState { MLState() }

    @available(iOS 18, macOS 15, *)
    open func prediction(from input: any MLFeatureProvider, using state: MLState) throws -> any MLFeatureProvider { input }
}
